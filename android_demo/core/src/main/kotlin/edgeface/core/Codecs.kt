package edgeface.core

import kotlin.math.exp
import kotlin.math.max
import kotlin.math.sqrt

/**
 * An output as the file stores it: 8-bit integers or floats. For integers exp() is a table of the 256 values that a
 * difference of two stored numbers can have, so a map of 32 x 32 x 68 costs no exp() at all.
 */
class Stored(private val spec: OutputSpec) {
    val size: Int get() = spec.size
    private val floats = if (spec.dtype == DType.FLOAT32) FloatArray(spec.size) else null
    private val ints = if (spec.dtype == DType.FLOAT32) null else IntArray(spec.size)
    private var table = FloatArray(0)
    private var tableGain = Double.NaN

    fun set(values: FloatArray) {
        must(floats != null && values.size == size, spec.role, "$size values of ${spec.dtype}", "${values.size} floats")
        values.copyInto(floats!!)
    }

    fun set(values: ByteArray) {
        must(ints != null && values.size == size, spec.role, "$size values of ${spec.dtype}", "${values.size} bytes")
        val mask = spec.dtype == DType.UINT8
        for (i in values.indices) ints!![i] = if (mask) values[i].toInt() and 255 else values[i].toInt()
    }

    /** The real value. */
    operator fun get(index: Int): Float =
        if (floats != null) floats[index] else (ints!![index] - spec.zeroPoint) * spec.scale

    /** max over start, start + step, ... (count of them), as stored: for [weight]. */
    fun peak(start: Int, step: Int, count: Int): Float {
        var best = Float.NEGATIVE_INFINITY
        var at = start
        for (i in 0 until count) {
            best = max(best, if (floats != null) floats[at] else ints!![at].toFloat())
            at += step
        }
        return best
    }

    /** exp(gain * (value - peak)): the unnormalised softmax. */
    fun weight(index: Int, peak: Float, gain: Double): Float {
        if (floats != null) return exp(gain * (floats[index] - peak)).toFloat()
        if (gain != tableGain) {
            table = FloatArray(256) { exp(-gain * spec.scale * it).toFloat() }
            tableGain = gain
        }
        return table[peak.toInt() - ints!![index]]
    }
}

/**
 * Landmarks from maps by expectation: cell (i, j) of an (H, W, K) map is the crop point ((j + .5) / W, (i + .5) /
 * H).
 */
class IntegralHeatmap(private val height: Int, private val width: Int, private val sharpness: Double) {
    /** [landmarks]: (K, 2) in [0, 1]; [spread]: (K,) sqrt(Var x + Var y), in the crop's width. */
    fun decode(maps: Stored, landmarks: FloatArray, spread: FloatArray) {
        val points = spread.size
        for (k in 0 until points) {
            val peak = maps.peak(k, points, height * width)
            var sum = 0.0
            var sumX = 0.0
            var sumY = 0.0
            var sumSquares = 0.0
            for (i in 0 until height) {
                val y = (i + 0.5) / height
                var rowSum = 0.0
                for (j in 0 until width) {
                    val weight = maps.weight((i * width + j) * points + k, peak, sharpness).toDouble()
                    val x = (j + 0.5) / width
                    rowSum += weight
                    sumX += weight * x
                    sumSquares += weight * x * x
                }
                sum += rowSum
                sumY += rowSum * y
                sumSquares += rowSum * y * y
            }
            val x = sumX / sum
            val y = sumY / sum
            landmarks[2 * k] = x.toFloat()
            landmarks[2 * k + 1] = y.toFloat()
            spread[k] = sqrt(max(0.0, sumSquares / sum - x * x - y * y)).toFloat()
        }
    }
}

/** Angles from (3, N) logits: the mean of the bin centres under their softmax. */
class BinnedAngles(private val rule: PoseRule.Bins) {
    fun decode(logits: Stored, poseDeg: FloatArray) {
        val step = (rule.highDeg - rule.lowDeg) / rule.count
        for (angle in 0 until 3) {
            val start = angle * rule.count
            val peak = logits.peak(start, 1, rule.count)
            var sum = 0.0
            var mean = 0.0
            for (n in 0 until rule.count) {
                val weight = logits.weight(start + n, peak, 1.0)
                sum += weight
                mean += weight * (rule.lowDeg + step * (n + 0.5))
            }
            poseDeg[angle] = (mean / sum).toFloat()
        }
    }
}

/** Angles from an (h, w, C) feature map: its mean times a (C, 3) kernel, plus a bias, in degrees. */
class LinearPose(private val rule: PoseRule.Features) {
    fun decode(features: Stored, poseDeg: FloatArray) {
        val channels = rule.channels
        val cells = features.size / channels
        var yaw = 0.0
        var pitch = 0.0
        var roll = 0.0
        for (c in 0 until channels) {
            var mean = 0.0
            for (cell in 0 until cells) mean += features[cell * channels + c]
            mean /= cells
            yaw += mean * rule.kernel[3 * c]
            pitch += mean * rule.kernel[3 * c + 1]
            roll += mean * rule.kernel[3 * c + 2]
        }
        poseDeg[0] = (yaw + rule.bias[0]).toFloat()
        poseDeg[1] = (pitch + rule.bias[1]).toFloat()
        poseDeg[2] = (roll + rule.bias[2]).toFloat()
    }
}
