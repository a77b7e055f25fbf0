package edgeface.core

import kotlin.math.abs
import kotlin.math.max

/** Both sides compute in float64 and hand over float32. */
private const val SMOOTH_PIXELS = 1e-3
private const val SMOOTH_DEGREES = 1e-3
private const val CROP_PIXELS = 1e-3

fun checkSmoothing(folder: GoldenFolder, report: Report) {
    for (case in folder.list("smoothing")) {
        val config = OneEuro(case.number("min_cutoff_hz"), case.number("beta"))
        val smoother = FaceSmoother(config, case.int("points"))
        val face = Face(case.int("points"))
        val out = Face(case.int("points"))
        for ((number, frame) in case.cases("frames").withIndex()) {
            fill(face, frame)
            smoother.smooth(face, frame.number("time_s"), frame.number("size"), out)
            val where = "$config, frame $number"
            val landmarks = worst(frame.numbers("expected_px")!!, out.landmarks)
            val pose = worst(frame.numbers("expected_deg")!!, out.poseDeg)
            report.difference("smoothed landmarks", SMOOTH_PIXELS, "px", landmarks, where)
            report.difference("smoothed pose", SMOOTH_DEGREES, "degrees", pose, where)
        }
    }
}

/** The recorded tracker again: it must ask for the same crops in the same order, and show the same faces. */
fun checkTracks(folder: GoldenFolder, report: Report) {
    for (case in folder.list("tracks")) {
        val name = case.text("name")
        val replay = Replay(cardOf(case), report)
        val tracker = Tracker(replay, configOf(case))
        for ((number, frame) in case.cases("frames").withIndex()) {
            val where = "$name, frame $number"
            replay.begin(frame, where)
            val shown = tracker.update(case.int("width"), case.int("height"), frame.number("time_s"), replay)
            replay.end()
            val expected = frame.cases("shown")
            val faces = expected.map { it.int("id") to it.int("frames") }
            report.same("$where: faces", faces, shown.map { it.id to it.frames })
            for ((want, got) in expected.zip(shown)) compare(want, got, where, report)
        }
    }
}

private fun compare(want: Case, got: TrackedFace, where: String, report: Report) {
    val landmarks = worst(want.numbers("landmarks_px")!!, got.face.landmarks)
    report.difference("tracked landmarks", SMOOTH_PIXELS, "px", landmarks, where)
    val pose = worst(want.numbers("pose_deg")!!, got.face.poseDeg)
    report.difference("tracked pose", SMOOTH_DEGREES, "degrees", pose, where)
    report.same("$where: lost score is known", want.fields["lost_score"] != null, !got.lostScore.isNaN())
    want.fields["lost_score"]?.let {
        report.difference("lost score", 1e-5, "", abs(it as Double - got.lostScore), where)
    }
    val box = floatArrayOf(got.box.x0.toFloat(), got.box.y0.toFloat(), got.box.x1.toFloat(), got.box.y1.toFloat())
    report.difference("tracked boxes", CROP_PIXELS, "px", worst(want.numbers("box")!!, box), where)
}

private fun fill(face: Face, values: Case) {
    values.numbers("landmarks_px")!!.forEachIndexed { i, value -> face.landmarks[i] = value.toFloat() }
    values.numbers("pose_deg")!!.forEachIndexed { i, value -> face.poseDeg[i] = value.toFloat() }
    if ("spread" in values.fields) values.numbers("spread")!!.forEachIndexed { i, v -> face.spread[i] = v.toFloat() }
}

private fun cardOf(case: Case): Card {
    val points = case.int("points")
    val outputs = hashMapOf(
        "landmarks" to OutputSpec("landmarks", "landmarks", listOf(1, points, 2), DType.FLOAT32, 1f, 0),
        "pose" to OutputSpec("pose", "pose", listOf(1, 3), DType.FLOAT32, 1f, 0),
    )
    if (case.fields["spread"] == true) {
        outputs["spread"] = OutputSpec("spread", "spread", listOf(1, points), DType.FLOAT32, 1f, 0)
    }
    val input = InputSpec("image", 128, 1, DType.FLOAT32, 1.0, 0)
    return Card("replay", "float32", case.text("markup"), input, case.number("scale"), outputs, null, null)
}

private fun configOf(case: Case) = TrackerConfig(
    detectEvery = (case.fields["detect_every"] as Double?)?.toInt(),
    patience = case.int("patience"),
    maxMissed = case.int("max_missed"),
    maxFaces = case.int("max_faces"),
    upright = case.fields["upright"] as Boolean,
    smoothing = case.numbers("smoothing")?.let { OneEuro(it[0], it[1]) },
)

/** Gives the recorded answers, and reports every question that was not the recorded one. */
private class Replay(override val card: Card, private val report: Report) : Predictor, Detector {
    private var where = ""
    private var calls = emptyList<Case>()
    private var detections = emptyList<List<Double>>()
    private var asked = 0
    private var detected = 0

    fun begin(frame: Case, where: String) {
        this.where = where
        calls = frame.cases("calls")
        detections = (frame.fields["detections"] as List<*>).map { Case.flat(it) }
        asked = 0
        detected = 0
    }

    fun end() {
        report.same("$where: crops", calls.size, asked)
        report.same("$where: detections", detections.size, detected)
    }

    override fun predict(crop: Crop, face: Face) {
        asked++
        val call = calls.getOrNull(asked - 1) ?: return face.landmarks.fill(Float.NaN)
        val center = call.numbers("center")!!
        val off = max(abs(center[0] - crop.centerX), abs(center[1] - crop.centerY))
        report.difference("tracked crops", CROP_PIXELS, "px", max(off, abs(call.number("size") - crop.size)), where)
        val turned = abs(call.number("angle_deg") - crop.angleDeg)
        report.difference("tracked angles", SMOOTH_DEGREES, "degrees", turned, where)
        fill(face, call)
    }

    override fun detect(): List<Box> {
        detected++
        return detections.getOrNull(detected - 1).orEmpty().chunked(4).map { Box(it[0], it[1], it[2], it[3]) }
    }
}
