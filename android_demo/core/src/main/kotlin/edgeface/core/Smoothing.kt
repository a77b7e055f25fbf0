package edgeface.core

import kotlin.math.PI
import kotlin.math.max
import kotlin.math.sqrt

/**
 * The one-euro filter's two parameters (Casiez, Roussel and Vogel, CHI 2012), as in `edgeface/runtime/smoothing.py`:
 * for values in units of the face's size and for angles in units of a right angle.
 *
 * Lower [minCutoffHz] until a still face is steady, then raise [beta] until a moving one does not drag.
 */
data class OneEuro(val minCutoffHz: Double = Tuned.MIN_CUTOFF_HZ, val beta: Double = Tuned.BETA) {
    init {
        val ok = minCutoffHz.isFinite() && minCutoffHz > 0 && beta.isFinite() && beta >= 0
        must(ok, "smoothing", "minCutoffHz > 0 and beta >= 0", "$minCutoffHz, $beta")
    }
}

/** Filters [count] points of [dims] values: the speed of a point opens its own cutoff. */
class OneEuroFilter(private val config: OneEuro, private val count: Int, private val dims: Int) {
    private val values = DoubleArray(count * dims)
    private val speed = DoubleArray(count * dims)
    private var timeS = Double.NaN

    /**
     * Filters [new] at a time, in place. [unit]: what counts as a length of 1. The first values stay as they
     * are, and so do those after a NaN. One whose time has not gone on gives the last values back.
     */
    fun filter(new: DoubleArray, time: Double, unit: Double) {
        if (!new.all { it.isFinite() }) {
            timeS = Double.NaN
            return
        }
        if (timeS.isNaN()) {
            timeS = time
            new.copyInto(values)
            speed.fill(0.0)
            return
        }
        val step = time - timeS
        if (step > 0) {
            update(new, step, max(unit, 1e-9))
            timeS = time
        }
        values.copyInto(new)
    }

    private fun update(new: DoubleArray, step: Double, unit: Double) {
        val slow = weight(Tuned.SPEED_CUTOFF_HZ, step)
        for (point in 0 until count) {
            var squares = 0.0
            for (i in point * dims until (point + 1) * dims) {
                speed[i] += slow * ((new[i] - values[i]) / (step * unit) - speed[i])
                squares += speed[i] * speed[i]
            }
            val quick = weight(config.minCutoffHz + config.beta * sqrt(squares), step)
            for (i in point * dims until (point + 1) * dims) values[i] += quick * (new[i] - values[i])
        }
    }

    private companion object {
        /** The exponential filter's weight of the new value: 1 / (1 + tau / step), tau = 1 / (2 pi cutoff). */
        fun weight(cutoffHz: Double, stepS: Double): Double {
            val turn = 2 * PI * stepS * cutoffHz
            return turn / (turn + 1)
        }
    }
}

/** One face's landmarks and pose, filtered. What it is fed must be one face, frame after frame. */
class FaceSmoother(config: OneEuro, points: Int) {
    private val landmarkFilter = OneEuroFilter(config, points, 2)
    private val poseFilter = OneEuroFilter(config, 1, 3)
    private val landmarks = DoubleArray(2 * points)
    private val angles = DoubleArray(3)
    private val smooth = DoubleArray(3)
    private var begun = false

    /** [face] -> [out]; size: of the face's box, px. */
    fun smooth(face: Face, timeS: Double, size: Double, out: Face) {
        for (i in landmarks.indices) landmarks[i] = face.landmarks[i].toDouble()
        landmarkFilter.filter(landmarks, timeS, size)
        for (i in landmarks.indices) out.landmarks[i] = landmarks[i].toFloat()
        for (i in 0 until 3) {
            val angle = face.poseDeg[i].toDouble()
            // 179 and -179 degrees are 2 apart.
            angles[i] = if (begun) angles[i] + turn(angle - angles[i]) else angle
            smooth[i] = angles[i]
        }
        begun = true
        poseFilter.filter(smooth, timeS, RIGHT_ANGLE)
        for (i in 0 until 3) out.poseDeg[i] = turn(smooth[i]).toFloat()
        face.spread.copyInto(out.spread)
    }

    private companion object {
        const val RIGHT_ANGLE = 90.0

        /** Into [-180, 180). */
        fun turn(angleDeg: Double): Double = (angleDeg + 180).mod(360.0) - 180
    }
}
