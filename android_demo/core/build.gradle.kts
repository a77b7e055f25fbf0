import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.kotlin.jvm)
}

java {
    sourceCompatibility = JavaVersion.toVersion(libs.versions.jvm.get())
    targetCompatibility = JavaVersion.toVersion(libs.versions.jvm.get())
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.fromTarget(libs.versions.jvm.get())
        allWarningsAsErrors = true
    }
}

// Its test source set holds a main, run by the next task, and nothing for a test engine.
tasks.test {
    enabled = false
}

// ./gradlew :core:golden -Pgolden=FOLDER, with the folder that `python -m convert.android golden FOLDER` wrote.
// A relative one starts at the root of this project.
tasks.register<JavaExec>("golden") {
    group = "verification"
    description = "Holds core against the golden vectors of the Python code."
    classpath = sourceSets["test"].runtimeClasspath
    mainClass = "edgeface.core.GoldenKt"
    args(rootProject.file(providers.gradleProperty("golden").getOrElse("golden")).path)
}
