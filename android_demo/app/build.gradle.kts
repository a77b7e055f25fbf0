import java.security.MessageDigest

plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "edgeface.demo"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        applicationId = "edgeface.demo"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 1
        versionName = libs.versions.app.get()
    }

    buildTypes {
        release {
            isMinifyEnabled = false
            // A demo: no key of your own is needed to install it.
            signingConfig = signingConfigs.getByName("debug")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.toVersion(libs.versions.jvm.get())
        targetCompatibility = JavaVersion.toVersion(libs.versions.jvm.get())
    }

    // Models are read straight from the package.
    androidResources {
        noCompress += "tflite"
    }
}

dependencies {
    implementation(project(":core"))
    implementation(libs.activity)
    implementation(libs.bundles.camerax)
    implementation(libs.bundles.litert)
}

/** Copies the packaged models of the Python side, each only if its hash is the one in `zoo.sha256`. */
abstract class CopyZoo : DefaultTask() {
    @get:InputFile
    @get:PathSensitive(PathSensitivity.NONE)
    abstract val manifest: RegularFileProperty

    @get:InputFiles
    @get:PathSensitive(PathSensitivity.NAME_ONLY)
    abstract val models: ConfigurableFileCollection

    @get:OutputDirectory
    abstract val assets: DirectoryProperty

    @TaskAction
    fun copy() {
        val out = assets.get().asFile
        out.deleteRecursively()
        out.mkdirs()
        val found = models.files.associateBy { it.name }
        val listed = manifest.get().asFile.readLines().filter { it.isNotBlank() }.associate { line ->
            val (hash, name) = line.split(Regex("\\s+"), limit = 2)
            name to hash
        }
        if (listed.keys != found.keys) {
            throw GradleException(
                "zoo.sha256 must list the models of edgeface/zoo (python -m convert.android zoo). " +
                    "Received: ${listed.keys.sorted()} for ${found.keys.sorted()}",
            )
        }
        for ((name, expected) in listed) {
            val bytes = found.getValue(name).readBytes()
            val digest = MessageDigest.getInstance("SHA-256").digest(bytes)
            val hash = digest.joinToString("") { "%02x".format(it) }
            if (hash != expected) throw GradleException("$name must have sha256 $expected. Received: $hash")
            out.resolve(name).writeBytes(bytes)
        }
    }
}

androidComponents {
    onVariants { variant ->
        // One a variant: the plugin gives each its own folder.
        val copyZoo = tasks.register<CopyZoo>("copyZoo${variant.name.replaceFirstChar(Char::uppercase)}") {
            group = "build"
            description = "Copies edgeface/zoo/*.tflite into the assets, hashes checked."
            manifest = rootProject.layout.projectDirectory.file("zoo.sha256")
            models.from(rootProject.fileTree("../edgeface/zoo") { include("*.tflite") })
        }
        variant.sources.assets?.addGeneratedSourceDirectory(copyZoo, CopyZoo::assets)
    }
}
