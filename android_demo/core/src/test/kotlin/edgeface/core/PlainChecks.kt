package edgeface.core

import kotlin.math.abs

/** What needs no vectors from Python: round trips, and what must be refused. */
fun checkWithoutGolden(report: Report) {
    checkJson(report)
    checkRefusals(report)
    checkCards(report)
    checkViewport(report)
    checkGeometry(report)
    checkFilter(report)
}

private fun checkJson(report: Report) {
    val text = """ {"a": [1, -2.5e-1, true, null], "b": {"c\n\u0041": "\"\\"}, "d": []} """
    val expected = mapOf("a" to listOf(1.0, -0.25, true, null), "b" to mapOf("c\nA" to "\"\\"), "d" to emptyList<Any>())
    report.same("JSON", expected, Json.parse(text))
    val wrong = listOf(
        "", "{", "[1,]", "{\"a\" 1}", "\"a", "01", "1.", "NaN", "Infinity", "0x10", "1f", "tru", "[1] 2", "\"\\u12g4\"",
        "\"\\q\"", "{1: 2}", "[".repeat(100000), "\"\u0001\"", "-",
    )
    for (each in wrong) report.same("JSON ${each.take(8)} is refused", true, refused { Json.parse(each) })
}

private fun checkRefusals(report: Report) {
    val model = "xxxxTFL3".toByteArray() + ByteArray(64)
    report.same("a model without a card is refused", true, refused { CardFile.read(model) })
    report.same("no model is refused", true, refused { CardFile.read(ByteArray(3)) })
    report.same("a broken archive is refused", true, refused { CardFile.read(model + END_OF_ARCHIVE) })
    report.same("a NaN box is refused", true, refused { Box(0.0, Double.NaN, 1.0, 1.0) })
    report.same("an empty box is refused", true, refused { Crop.square(Box(1.0, 1.0, 1.0, 1.0), 1.3) })
    report.same("a crooked rotation is refused", true, refused { Frame().apply { rotationDeg = 45 }.toBuffer() })
    report.same("an empty frame is refused", true, refused { Frame().check() })
    report.same("an unknown markup is refused", true, refused { Markup.named("ibug69") })
}

/** A card must have the points of its markup: an overlay draws them by number. */
private fun checkCards(report: Report) {
    fun card(markup: String, role: String, shape: String) = Card.parse(
        """{"format": 1, "name": "n", "variant": "float32", "markup": "$markup", "input": {"name": "image",
        "shape": [1, 8, 8, 1], "channels": 1, "dtype": "float32", "layout": "raw 0..255"}, "crop": {"rule": "square",
        "scale": 1.3}, "outputs": {"$role": {"name": "o", "shape": $shape, "dtype": "float32"}}}""",
    )
    report.same("points of a card", 5, card("mtfl5", "landmarks", "[1, 5, 2]").points)
    report.same("a card without points is read", 0, card("mtfl5", "pose", "[1, 3]").points)
    report.same("a sixth of five points is refused", true, refused { card("mtfl5", "landmarks", "[1, 6, 2]") })
    report.same("points of no markup are refused", true, refused { card("ibug69", "landmarks", "[1, 69, 2]") })
    report.same("maps without a decode rule are refused", true, refused { card("mtfl5", "maps", "[1, 4, 4, 5]") })
    report.same("flat maps are refused", true, refused { card("mtfl5", "maps", "[1, 5]") })
}

/** An end record that points past the end of the file. */
private val END_OF_ARCHIVE =
    byteArrayOf(0x50, 0x4b, 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, 46, 0, 0, 0, -1, -1, -1, 0x7f, 0, 0)

/** A flipped byte anywhere: the card that was there, or an [InputError]; nothing else may be thrown. */
fun checkDamage(folder: GoldenFolder, report: Report) {
    val file = folder.bytes(folder.list("drawn").first().text("card"))
    val whole = CardFile.read(file)
    var taken = 0
    for (at in file.indices) {
        val bit = (1 shl (at % 8)).toByte()
        file[at] = (file[at].toInt() xor bit.toInt()).toByte()
        try {
            val card = CardFile.read(file)
            taken++
            val got = card.outputs.keys to card.input
            report.same("the card read with byte $at flipped", whole.outputs.keys to whole.input, got)
        } catch (error: InputError) {
            report.same("byte $at flipped is told", true, error.message!!.contains("Received:"))
        }
        file[at] = (file[at].toInt() xor bit.toInt()).toByte()
    }
    // Dates and attributes of the archive alone are of no account.
    report.same("most flipped bytes are refused", true, taken < file.size / 10)
    for (size in listOf(0, 8, file.size / 2, file.size - 1)) {
        report.same("the first $size bytes are refused", true, refused { CardFile.read(file.copyOf(size)) })
    }
}

private fun checkViewport(report: Report) {
    for (mirrored in listOf(false, true)) {
        val port = Viewport(480, 640, 1080, 2000, mirrored)
        for ((x, y) in listOf(0.0 to 0.0, 479.0 to 639.0, 100.25 to 333.75)) {
            val backX = port.toImageX(port.toViewX(x))
            val backY = port.toImageY(port.toViewY(y))
            report.difference("view to image and back", 1e-9, "px", abs(backX - x) + abs(backY - y), "$x, $y")
        }
        // The view is filled: its corners lie on the image or on its edge.
        val x = if (mirrored) port.toViewX(479.5) else port.toViewX(-0.5)
        report.same("the image covers the view, mirrored $mirrored", true, x <= 1e-9 && port.toViewY(-0.5) <= 1e-9)
    }
    val mirror = Viewport(480, 640, 480, 640, true)
    report.difference("mirrored column 0", 1e-9, "px", abs(mirror.toViewX(0.0) - 479.5), "the right edge")
}

private fun checkGeometry(report: Report) {
    val crop = Crop(31.5, 12.25, 77.0, 33.0)
    val back = crop.matrix(128).inverse().after(crop.matrix(128))
    val off = abs(back.x(90.0, -4.0) - 90) + abs(back.y(90.0, -4.0) + 4)
    report.difference("affine and its inverse", 1e-9, "px", off, "")
    report.same("no finite point, no box", null, Box.around(floatArrayOf(Float.NaN, 1f)))
    val box = Box.around(floatArrayOf(3f, 4f, Float.NaN, 0f, 1f, 9f))
    report.same("the box of the finite points", Box(1.0, 4.0, 3.0, 9.0), box)
    report.difference("IoU", 1e-12, "", abs(Box(0.0, 0.0, 2.0, 2.0).iou(Box(1.0, 0.0, 3.0, 2.0)) - 1.0 / 3), "")
}

/** After a NaN the next values are the first ones again. */
private fun checkFilter(report: Report) {
    val filter = OneEuroFilter(OneEuro(0.5, 0.0), 1, 2)
    val seen = listOf(1.0, 9.0, Double.NaN, 5.0, 6.0).mapIndexed { n, value ->
        doubleArrayOf(value, value).also { filter.filter(it, 0.1 * n, 1.0) }[0]
    }
    val kept = listOf(seen[0] == 1.0, seen[1] < 5, seen[2].isNaN(), seen[3] == 5.0)
    report.same("filtered", listOf(true, true, true, true), kept)
    report.same("filtered again", true, seen[4] > 5 && seen[4] < 6)
}

internal fun refused(attempt: () -> Unit): Boolean = try {
    attempt()
    false
} catch (error: InputError) {
    true
}
