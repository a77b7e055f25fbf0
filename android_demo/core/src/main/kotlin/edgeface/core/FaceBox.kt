package edgeface.core

import kotlin.math.atan2
import kotlin.math.hypot
import kotlin.math.sqrt

/**
 * The next frame's crop from this frame's landmarks; the Python side is `edgeface/runtime/tracker.py` and
 * `edgeface/box.py`. Buffers are kept between calls; not for two threads at once.
 */
class FaceBox(markup: String) {
    private val scheme = Markup.named(markup)
    private val full = scheme.full
    private var turned = FloatArray(0)
    private var known = BooleanArray(0)
    private var sorted = FloatArray(0)
    private val fiveX = DoubleArray(5)
    private val fiveY = DoubleArray(5)

    /**
     * The next frame's box and crop angle; null where the landmarks are no face. [previous] is the box that this
     * frame's crop was made from, [spread] null where the model has none. With [upright] the box is tight in a
     * frame turned with the eyes.
     */
    fun next(points: FloatArray, spread: FloatArray?, previous: Box, upright: Boolean): Turned? {
        if (!points.all { it.isFinite() }) return null
        findKnown(points.size / 2, spread)
        val angleDeg = if (upright) leanDeg(points) else 0.0
        val box = (if (angleDeg == 0.0) of(points) else ofTurned(points, angleDeg)) ?: return null
        // Landmarks that fill the crop, or shrink to a corner of it, are not a face's.
        val growth = maxOf(box.width, box.height) / maxOf(previous.width, previous.height, 1e-9)
        return if (growth > SHRINKS && growth < GROWS) Turned(box, angleDeg) else null
    }

    /** The tight box of the 68 points, or its estimate from fewer. */
    private fun of(points: FloatArray): Box? = if (full) Box.around(points) else estimate(points)

    /** What a turned head hides was never learned: the map is wide and its mean says nothing. */
    private fun findKnown(count: Int, spread: FloatArray?) {
        if (full) return
        if (known.size != count) {
            known = BooleanArray(count)
            sorted = FloatArray(count)
        }
        if (spread == null) return known.fill(true)
        spread.copyInto(sorted)
        sorted.sort()
        val median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
        for (i in 0 until count) known[i] = !(spread[i] > Tuned.HIDDEN * median)
    }

    class Turned(val box: Box, val angleDeg: Double)

    private fun ofTurned(points: FloatArray, angleDeg: Double): Box? {
        val cos = kotlin.math.cos(Math.toRadians(angleDeg))
        val sin = kotlin.math.sin(Math.toRadians(angleDeg))
        if (turned.size != points.size) turned = FloatArray(points.size)
        for (i in 0 until points.size / 2) {
            turned[2 * i] = (cos * points[2 * i] + sin * points[2 * i + 1]).toFloat()
            turned[2 * i + 1] = (cos * points[2 * i + 1] - sin * points[2 * i]).toFloat()
        }
        val box = of(turned) ?: return null
        val x = cos * box.centerX - sin * box.centerY
        val y = sin * box.centerX + cos * box.centerY
        return Box(x - box.width / 2, y - box.height / 2, x + box.width / 2, y + box.height / 2)
    }

    /** How far the line of the eyes leans, clockwise; 0 in profile and where the markup has no eye corners. */
    private fun leanDeg(points: FloatArray): Double {
        val corners = scheme.eyeCorners ?: return 0.0
        val x = (points[2 * corners[1]] - points[2 * corners[0]]).toDouble()
        val y = (points[2 * corners[1] + 1] - points[2 * corners[0] + 1]).toDouble()
        val tight = Box.around(points) ?: return 0.0
        // Nearly in profile the line says nothing.
        return if (hypot(x, y) < 0.25 * maxOf(tight.width, tight.height)) 0.0 else Math.toDegrees(atan2(y, x))
    }

    /** Means of the known points of eyes, nose tip and mouth corners; NaN where none is known. */
    private fun findFive(points: FloatArray, five: List<IntArray>) {
        for (part in 0 until 5) {
            var count = 0
            fiveX[part] = 0.0
            fiveY[part] = 0.0
            for (i in five[part]) {
                if (!known[i]) continue
                fiveX[part] += points[2 * i].toDouble()
                fiveY[part] += points[2 * i + 1].toDouble()
                count++
            }
            // 0 / 0 is NaN.
            fiveX[part] /= count
            fiveY[part] /= count
        }
        // On a turned head the hidden mouth corner lies right behind the mouth's centre.
        if (scheme.name == "aflw21" && fiveX[3].isNaN() != fiveX[4].isNaN()) {
            val hidden = if (fiveX[3].isNaN()) 3 else 4
            fiveX[hidden] = if (known[MOUTH_CENTRE]) points[2 * MOUTH_CENTRE].toDouble() else Double.NaN
            fiveY[hidden] = if (known[MOUTH_CENTRE]) points[2 * MOUTH_CENTRE + 1].toDouble() else Double.NaN
        }
    }

    /** The mean of two values, or the one that is known. */
    private fun middle(a: Double, b: Double): Double = if (a.isNaN()) b else if (b.isNaN()) a else (a + b) / 2

    private fun orZero(value: Double): Double = if (value.isNaN()) 0.0 else value

    /** An ellipse whose size is the root of the squared eye-to-mouth and the weighted squared eye distance. */
    private fun estimate(points: FloatArray): Box? {
        findFive(points, scheme.five ?: return null)
        val eyesX = middle(fiveX[0], fiveX[1])
        val eyesY = middle(fiveY[0], fiveY[1])
        val mouthX = middle(fiveX[3], fiveX[4])
        val mouthY = middle(fiveY[3], fiveY[4])
        if (eyesX.isNaN() || mouthX.isNaN()) return null
        val downX = mouthX - eyesX
        val downY = mouthY - eyesY
        val acrossX = orZero(fiveX[1] - fiveX[0])
        val acrossY = orZero(fiveY[1] - fiveY[0])
        val length = hypot(acrossX + downY, acrossY - downX)
        val size = sqrt(downX * downX + downY * downY + Tuned.EYE_WEIGHT * (acrossX * acrossX + acrossY * acrossY))
        if (length == 0.0 || size == 0.0) return null
        val rightX = (acrossX + downY) / length
        val rightY = (acrossY - downX) / length
        val middleX = (eyesX + mouthX) / 2
        val middleY = (eyesY + mouthY) / 2
        val turn = orZero(((fiveX[2] - middleX) * rightX + (fiveY[2] - middleY) * rightY) / size)
        val centerX = middleX + size * (Tuned.SHIFT * turn * rightX - Tuned.DROP * rightY)
        val centerY = middleY + size * (Tuned.SHIFT * turn * rightY + Tuned.DROP * rightX)
        val halfWidth = size * (Tuned.HALF_WIDTH + Tuned.HALF_WIDTH_TURN * turn * turn)
        val halfHeight = size * (Tuned.HALF_HEIGHT + Tuned.HALF_HEIGHT_TURN * turn * turn)
        val reachX = hypot(halfWidth * rightX, halfHeight * rightY)
        val reachY = hypot(halfWidth * rightY, halfHeight * rightX)
        return Box(centerX - reachX, centerY - reachY, centerX + reachX, centerY + reachY)
    }

    private companion object {
        const val MOUTH_CENTRE = 18
        const val SHRINKS = 0.3
        const val GROWS = 1.8
    }
}
