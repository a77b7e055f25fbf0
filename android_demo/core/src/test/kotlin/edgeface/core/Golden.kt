package edgeface.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.max
import kotlin.system.exitProcess

/**
 * Holds this code against the vectors that `python -m convert.android golden FOLDER` writes. No test library is needed:
 * it prints what it compared, one line a check, and exits with 1 where something differs.
 */
fun main(args: Array<String>) {
    if (args.size != 1) {
        System.err.println("the one argument must be a folder of golden vectors. Received: ${args.toList()}")
        exitProcess(2)
    }
    val report = Report()
    val folder = GoldenFolder(File(args[0]))
    checkCrops(folder, report)
    checkInputs(folder, report)
    checkAxes(folder, report)
    checkMarkups(folder, report)
    checkBoxes(folder, report)
    checkModels(folder, "drawn", report)
    checkModels(folder, "models", report)
    checkSmoothing(folder, report)
    checkTracks(folder, report)
    checkDamage(folder, report)
    checkWithoutGolden(report)
    report.lines().forEach(::println)
    exitProcess(if (report.failed) 1 else 0)
}

/** What was compared: the largest difference of each kind and the bound it must keep. */
class Report {
    private class Line(val unit: String, val bound: Double) {
        var worst = 0.0
        var count = 0
        var at = ""
    }

    private val kinds = LinkedHashMap<String, Line>()
    private val broken = ArrayList<String>()
    val failed: Boolean get() = broken.isNotEmpty() || kinds.values.any { !(it.worst <= it.bound) }

    fun difference(kind: String, bound: Double, unit: String, value: Double, where: String) {
        val line = kinds.getOrPut(kind) { Line(unit, bound) }
        line.count++
        // A NaN is worse than any number.
        if (!(value <= line.worst)) {
            line.worst = value
            line.at = where
        }
    }

    fun same(what: String, expected: Any?, got: Any?) {
        val line = kinds.getOrPut("facts") { Line("wrong", 0.0) }
        line.count++
        if (expected != got) {
            line.worst++
            broken.add("$what must be $expected. Received: $got")
        }
    }

    fun lines(): List<String> = kinds.map { (kind, line) ->
        val verdict = if (line.worst <= line.bound) "ok  " else "FAIL"
        "$verdict $kind: ${line.count} compared, at most ${"%.3g".format(line.worst)} ${line.unit} " +
            "(bound ${line.bound})${if (line.at.isEmpty()) "" else ", at ${line.at}"}"
    } + broken.map { "FAIL $it" }
}

/** `golden.json` and the arrays beside it. */
class GoldenFolder(private val folder: File) {
    private val document = Json.parse(File(folder, "golden.json").readText()) as Map<*, *>

    fun list(key: String): List<Case> = (document[key] as List<*>).map { Case(it as Map<*, *>, this) }

    fun map(key: String): Map<*, *> = document[key] as Map<*, *>

    fun bytes(name: String): ByteArray = File(folder, name).readBytes()

    fun floats(name: String): FloatArray {
        val buffer = ByteBuffer.wrap(bytes(name)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return FloatArray(buffer.remaining()) { buffer.get() }
    }
}

class Case(val fields: Map<*, *>, val folder: GoldenFolder) {
    fun number(key: String): Double = fields[key] as Double

    fun int(key: String): Int = number(key).toInt()

    fun text(key: String): String = fields[key] as String

    fun bytes(key: String): ByteArray = folder.bytes(text(key))

    fun case(key: String) = Case(fields[key] as Map<*, *>, folder)

    fun cases(key: String): List<Case> = (fields[key] as List<*>).map { Case(it as Map<*, *>, folder) }

    /** Nested lists of numbers, flat; null where the value is null. */
    fun numbers(key: String): DoubleArray? = fields[key]?.let { flat(it).toDoubleArray() }

    fun crop() = Crop(numbers("center")!![0], numbers("center")!![1], number("size"), number("angle_deg"))

    /** An RGB image as a camera hands it over: four bytes a pixel and rows that are padded. */
    fun frame(key: String): Frame {
        val rgb = bytes(key)
        val frame = Frame()
        frame.bufferWidth = int("width")
        frame.bufferHeight = int("height")
        frame.pixelStride = 4
        frame.rowStride = 4 * frame.bufferWidth + 12
        frame.rotationDeg = (fields["rotation_deg"] as? Double ?: 0.0).toInt()
        frame.pixels = ByteArray(frame.rowStride * frame.bufferHeight) { 77 }
        for (y in 0 until frame.bufferHeight) {
            for (x in 0 until frame.bufferWidth) {
                for (c in 0 until 3) {
                    frame.pixels[y * frame.rowStride + 4 * x + c] = rgb[3 * (y * frame.bufferWidth + x) + c]
                }
            }
        }
        return frame
    }

    companion object {
        fun flat(value: Any?): List<Double> = if (value is List<*>) value.flatMap(::flat) else listOf(value as Double)
    }
}

fun worst(expected: DoubleArray, got: FloatArray): Double {
    if (expected.size != got.size) return Double.NaN
    var worst = 0.0
    for (i in expected.indices) worst = if (got[i].isNaN()) Double.NaN else max(worst, abs(expected[i] - got[i]))
    return worst
}

fun worstLevel(expected: ByteArray, got: ByteArray): Double {
    if (expected.size != got.size) return Double.NaN
    var worst = 0
    for (i in expected.indices) worst = max(worst, abs((expected[i].toInt() and 255) - (got[i].toInt() and 255)))
    return worst.toDouble()
}
