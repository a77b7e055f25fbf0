package edgeface.core

/** A model with its crop: what a [Tracker] asks for landmarks. */
interface Predictor {
    val card: Card

    /** Fills [face]: landmarks in pixels of the upright image, spread, pose. */
    fun predict(crop: Crop, face: Face)
}

/** What a [Tracker] asks for faces: tight boxes of the 68 points, in pixels of the upright image. */
fun interface Detector {
    fun detect(): List<Box>
}

/** When to run the detector, and when to give a face up. */
data class TrackerConfig(
    /**
     * Frames between two runs of the detector while every face is certain. Null: it runs only where there is no
     * face to follow, or an uncertain one.
     */
    val detectEvery: Int? = 15,
    /** Frames that an uncertain face may stay unconfirmed. */
    val patience: Int = 5,
    /** Periods of [detectEvery] that a face with certain landmarks may go undetected. */
    val maxMissed: Int = 4,
    val maxFaces: Int = 16,
    /** Turn the crop with a leaning head. */
    val upright: Boolean = false,
    /** Null: the model's own answers. */
    val smoothing: OneEuro? = null,
) {
    init {
        val all = listOf(detectEvery ?: 1, patience, maxMissed, maxFaces)
        must(all.all { it >= 1 }, "tracker's numbers", "at least 1", all)
    }
}

/**
 * A face of this frame and which one it is; [face] is overwritten by the next frame. [lostScore]: the ratio of its
 * mean spread to its own usual one; NaN without a spread.
 */
class TrackedFace(val id: Int, val face: Face, val box: Box, val frames: Int, val lostScore: Double)

/**
 * Faces followed through a video: the next frame's crop from this frame's landmarks, the detector only where needed.
 * The same decisions as `edgeface/runtime/tracker.py`. Frames have an order: one thread.
 *
 * How sure a frame is, its spread says: on a face it stays near the value that the same face had when it was found, and
 * grows once the face has left the crop. Above [Tuned.LOST_RATIO] times its own level a face is uncertain.
 */
class Tracker(private val predictor: Predictor, private val config: TrackerConfig = TrackerConfig()) {
    private val card = predictor.card
    private val decoder = Decoder(card)
    private val faceBox = FaceBox(card.markup)
    private val tracks = ArrayList<Track>()
    private var nextId = 1
    private var frame = 0
    private var detected = 0
    private var width = 0
    private var height = 0

    /** The faces of the next upright frame, oldest first. */
    fun update(width: Int, height: Int, timeS: Double, detector: Detector): List<TrackedFace> {
        this.width = width
        this.height = height
        frame++
        for (track in tracks) follow(track)
        val due = config.detectEvery != null && frame - detected >= config.detectEvery
        if (due || tracks.isEmpty() || tracks.any { it.unsure > 0 }) detect(detector)
        tracks.removeAll { givenUp(it) }
        dropTwins()
        return tracks.filter { it.unsure == 0 }.map { it.shown(timeS) }
    }

    /** This frame's face from the last one's landmarks; an uncertain one keeps its last good box. */
    private fun follow(track: Track) {
        track.frames++
        val box = track.box
        if (!decoder.hasLandmarks || !predict(track, box, track.angleDeg)) return track.take(null)
        val moved = track.next(box)
        // So far from where it was that the crop cuts into it: predicted once more where it is now.
        val far = moved != null && box.iou(moved.box) < Tuned.MOVED && predict(track, moved.box, moved.angleDeg)
        track.take(if (far) moved.box else box)
    }

    /** Forget all faces: another camera, another model. */
    fun clear() = tracks.clear()

    /** False where the box has left the image. */
    private fun predict(track: Track, box: Box, angleDeg: Double): Boolean {
        val inside = box.x1 >= 0 && box.y1 >= 0 && box.x0 <= width - 1 && box.y0 <= height - 1
        if (!inside || box.width <= 0 || box.height <= 0) return false
        val crop = Crop.square(box, card.cropScale)
        predictor.predict(if (angleDeg == 0.0) crop else crop.copy(angleDeg = angleDeg), track.face)
        return true
    }

    private fun detect(detector: Detector) {
        detected = frame
        val boxes = detector.detect()
        val pairs = matched(tracks.map { it.box }, boxes)
        for ((number, track) in tracks.withIndex()) {
            val found = pairs[number] ?: continue
            track.seen = frame
            // The face is there: what the landmarks say of it in the found box counts from now on.
            if (track.unsure > 0) begin(track, boxes[found], track.angleDeg)
        }
        val taken = pairs.values.toSet()
        for ((number, box) in boxes.withIndex()) {
            if (number in taken || tracks.size >= config.maxFaces) continue
            val track = Track(nextId, box, frame)
            begin(track, box, 0.0)
            if (track.unsure == 0) {
                nextId++
                tracks.add(track)
            }
        }
    }

    private fun begin(track: Track, box: Box, angleDeg: Double) {
        track.level = Double.NaN
        track.take(if (predict(track, box, angleDeg)) box else null)
    }

    private fun givenUp(track: Track): Boolean {
        val every = config.detectEvery
        val missed = every != null && frame - track.seen > every * config.maxMissed
        return missed || track.unsure > config.patience
    }

    /** Two tracks that have come to follow one face: the older stays. */
    private fun dropTwins() {
        var kept = 0
        while (kept < tracks.size) {
            val box = tracks[kept].box
            if ((0 until kept).any { tracks[it].box.iou(box) >= 2 * Tuned.SAME_FACE }) tracks.removeAt(kept) else kept++
        }
    }

    /** What is remembered of one face. */
    private inner class Track(val id: Int, var box: Box, var seen: Int) {
        val face = Face(card.points)
        private var shown: Face? = null
        private var smoother: FaceSmoother? = null
        private var cutFrom = box
        var angleDeg = 0.0
        var level = Double.NaN
        var lostScore = Double.NaN
        var frames = 1
        var unsure = 0

        /**
         * A frame's answer, cut [from] a box; null or an unlikely one leaves the box where it was and the
         * face uncertain.
         */
        fun take(from: Box?) {
            val spread = if (from == null || !decoder.hasSpread) Double.NaN else mean(face.spread)
            if (level.isNaN() && spread.isFinite()) level = spread
            lostScore = if (level.isNaN() || level == 0.0) Double.NaN else spread / level
            val next = from?.let(::next)
            if (next == null || lostScore > Tuned.LOST_RATIO) {
                unsure++
                return
            }
            unsure = 0
            cutFrom = from
            box = next.box
            angleDeg = next.angleDeg
            if (spread.isFinite()) level += Tuned.FOLLOW * (spread - level)
        }

        /**
         * Where the next frame's crop lies, if this one's was cut [from] a box; null where the landmarks are
         * no face.
         */
        fun next(from: Box): FaceBox.Turned? {
            if (!decoder.hasLandmarks) return FaceBox.Turned(from, 0.0)
            return faceBox.next(face.landmarks, if (decoder.hasSpread) face.spread else null, from, config.upright)
        }

        fun shown(timeS: Double): TrackedFace {
            val smoothing = config.smoothing ?: return TrackedFace(id, face, cutFrom, frames, lostScore)
            val out = shown ?: Face(card.points).also { shown = it }
            val filter = smoother ?: FaceSmoother(smoothing, card.points).also { smoother = it }
            filter.smooth(face, timeS, cutFrom.size, out)
            return TrackedFace(id, out, cutFrom, frames, lostScore)
        }
    }

    companion object {
        /** {index in known: index in found}, the best overlaps first, each box once, none below [Tuned.SAME_FACE]. */
        fun matched(known: List<Box>, found: List<Box>): Map<Int, Int> {
            val overlaps = ArrayList<Triple<Double, Int, Int>>()
            for ((i, a) in known.withIndex()) {
                for ((j, b) in found.withIndex()) {
                    val overlap = a.iou(b)
                    if (overlap >= Tuned.SAME_FACE) overlaps.add(Triple(overlap, i, j))
                }
            }
            overlaps.sortWith(compareByDescending<Triple<Double, Int, Int>> { it.first }.thenByDescending { it.second })
            val pairs = LinkedHashMap<Int, Int>()
            for ((_, i, j) in overlaps) if (i !in pairs && j !in pairs.values) pairs[i] = j
            return pairs
        }

        private fun mean(values: FloatArray): Double {
            var sum = 0.0
            for (value in values) sum += value
            return sum / values.size
        }
    }
}
