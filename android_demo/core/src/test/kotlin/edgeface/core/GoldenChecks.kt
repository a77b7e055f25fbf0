package edgeface.core

/** The task's bounds: crops to one gray level, landmarks to 0.05 px of the image, pose to 0.01 degrees. */
private const val LEVELS = 1.0
private const val PIXELS = 0.05
private const val DEGREES = 0.01

/**
 * Of spread squared, in crop sides squared: the difference of two numbers up to 1. Python adds up the weights of 1024
 * cells one after another in float32, which is known to some 1e-5 of the sum; this side adds them in float64.
 */
private const val VARIANCE = 2e-5

fun checkCrops(folder: GoldenFolder, report: Report) {
    for ((number, case) in folder.list("crops").withIndex()) {
        val where = "crop $number, turned by ${case.int("rotation_deg")}"
        val frame = case.frame("image")
        val side = case.int("side")
        val channels = case.int("channels")
        val cropper = Cropper(side, channels)
        val out = ByteArray(side * side * channels)
        // Twice: what the first call leaves in the buffers must not show in the second.
        repeat(2) { cropper.cut(frame, case.crop(), out) }
        report.difference("crops", LEVELS, "gray levels", worstLevel(case.bytes("expected"), out), where)
        val points = FloatArray(6) { case.numbers("points")!![it].toFloat() }
        case.crop().toImage(points)
        // float32 of coordinates up to 1300: one step is 1.2e-4.
        report.difference("points of a crop", 1e-3, "px", worst(case.numbers("points_px")!!, points), where)
    }
}

fun checkInputs(folder: GoldenFolder, report: Report) {
    for (case in folder.list("inputs")) {
        val dtype = DType.valueOf(case.text("dtype").uppercase())
        val scale = case.fields["scale"] as Double? ?: 1.0
        val zero = (case.fields["zero_point"] as Double? ?: 0.0).toInt()
        val codec = InputCodec(InputSpec("image", 16, 1, dtype, scale, zero))
        codec.encode(case.bytes("crop"))
        if (dtype == DType.FLOAT32) {
            report.same("float input", folder.floats(case.text("expected")).toList(), codec.floats.toList())
        } else {
            report.same("$dtype input of scale $scale", case.bytes("expected").toList(), codec.bytes.toList())
        }
    }
}

fun checkAxes(folder: GoldenFolder, report: Report) {
    for (case in folder.list("axes")) {
        val pose = case.numbers("pose_deg")!!
        val axes = FloatArray(9)
        HeadPose.axesOnScreen(FloatArray(3) { pose[it].toFloat() }, axes)
        report.difference("pose axes", 1e-6, "of their length", worst(case.numbers("axes")!!, axes), "${pose.toList()}")
    }
}

fun checkMarkups(folder: GoldenFolder, report: Report) {
    val markups = folder.map("markups")
    report.same("markups", markups.keys, Markup.names)
    for ((name, value) in markups) {
        val case = Case(value as Map<*, *>, folder)
        val markup = Markup.named(name as String)
        report.same("size of $name", case.int("size"), markup.size)
        for ((what, runs) in mapOf("groups" to markup.groups, "lines" to markup.lines)) {
            val expected = (case.fields[what] as Map<*, *>).mapValues { (_, run) -> Case.flat(run).map { it.toInt() } }
            report.same("$what of $name", expected, runs.mapValues { it.value.toList() })
        }
    }
}

fun checkBoxes(folder: GoldenFolder, report: Report) {
    for (case in folder.list("boxes")) {
        val box = Box.ofFrame(case.int("width"), case.int("height"), case.number("scale"))
        val crop = Crop.square(box, case.number("scale"))
        val expected = case.numbers("box")!! + case.numbers("center")!! + doubleArrayOf(case.number("size"))
        val got = doubleArrayOf(box.x0, box.y0, box.x1, box.y1, crop.centerX, crop.centerY, crop.size)
        val found = FloatArray(got.size) { got[it].toFloat() }
        report.difference("boxes", 1e-3, "px", worst(expected, found), "${case.int("width")} x ${case.int("height")}")
    }
}

/** Cards read from files, crops, input tensors, decoded outputs. */
fun checkModels(folder: GoldenFolder, key: String, report: Report) {
    for (case in folder.list(key)) {
        val name = case.text("card")
        val card = CardFile.read(folder.bytes(name))
        checkFields(case.case("fields"), card, report)
        val decoder = Decoder(card)
        val face = Face(card.points)
        for ((number, answer) in case.cases("faces").withIndex()) {
            val where = "$name, face $number"
            if ("pixels" in answer.fields) checkInput(answer, card, where, report)
            for ((role, file) in answer.fields["outputs"] as Map<*, *>) {
                val stored = decoder.output(role as String)
                val integer = card.outputs.getValue(role).dtype != DType.FLOAT32
                if (integer) stored.set(folder.bytes(file as String)) else stored.set(folder.floats(file as String))
            }
            decoder.decode(face)
            answer.crop().toImage(face.landmarks)
            report.same("$where: has landmarks", answer.fields["landmarks_px"] != null, decoder.hasLandmarks)
            report.same("$where: has pose", answer.fields["pose_deg"] != null, decoder.hasPose)
            report.same("$where: has spread", answer.fields["spread"] != null, decoder.hasSpread)
            answer.numbers("landmarks_px")?.let {
                report.difference("landmarks ($key)", PIXELS, "px", worst(it, face.landmarks), where)
            }
            answer.numbers("pose_deg")?.let {
                report.difference("pose ($key)", DEGREES, "degrees", worst(it, face.poseDeg), where)
            }
            answer.numbers("spread")?.let {
                val squares = DoubleArray(it.size) { k -> it[k] * it[k] }
                val got = FloatArray(it.size) { k -> face.spread[k] * face.spread[k] }
                report.difference("spread squared ($key)", VARIANCE, "of the crop", worst(squares, got), where)
            }
        }
    }
}

/** From the image and the box to the input tensor. */
private fun checkInput(answer: Case, card: Card, where: String, report: Report) {
    val box = answer.numbers("box")!!
    val crop = Crop.square(Box(box[0], box[1], box[2], box[3]), card.cropScale)
    report.difference("crop rule", 1e-9, "px", kotlin.math.abs(crop.size - answer.number("size")), where)
    val pixels = ByteArray(card.input.size)
    Cropper(card.input.side, card.input.channels).cut(answer.frame("image"), crop, pixels)
    report.difference("faces cut", LEVELS, "gray levels", worstLevel(answer.bytes("pixels"), pixels), where)
    val codec = InputCodec(card.input)
    codec.encode(answer.bytes("pixels"))
    if (card.input.dtype == DType.FLOAT32) {
        report.same("$where: input", answer.folder.floats(answer.text("input")).toList(), codec.floats.toList())
    } else {
        report.same("$where: input", answer.bytes("input").toList(), codec.bytes.toList())
    }
}

private fun checkFields(fields: Case, card: Card, report: Report) {
    val got = mapOf(
        "name" to card.name,
        "variant" to card.variant,
        "markup" to card.markup,
        "side" to card.input.side.toDouble(),
        "channels" to card.input.channels.toDouble(),
        "dtype" to card.input.dtype.name.lowercase(),
        "crop_scale" to card.cropScale,
        "outputs" to card.outputs.keys.sorted(),
    )
    report.same("card ${card.name}", fields.fields, got)
}
