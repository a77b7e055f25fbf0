// Both plugins on one class path: the app's built-in Kotlin is then the catalogue's Kotlin too.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
