package edgeface.core

import kotlin.math.abs
import kotlin.math.cos
import kotlin.math.max
import kotlin.math.sin
import kotlin.math.sqrt

/** An axis-aligned box in pixels; pixel centres are at integers, the image's top-left corner is (-0.5, -0.5). */
data class Box(val x0: Double, val y0: Double, val x1: Double, val y1: Double) {
    init {
        val finite = x0.isFinite() && y0.isFinite() && x1.isFinite() && y1.isFinite()
        must(finite && x0 <= x1 && y0 <= y1, "box", "finite with x0 <= x1 and y0 <= y1", "$x0 $y0 $x1 $y1")
    }

    val width: Double get() = x1 - x0
    val height: Double get() = y1 - y0
    val centerX: Double get() = (x0 + x1) / 2
    val centerY: Double get() = (y0 + y1) / 2

    /** sqrt(w * h). */
    val size: Double get() = sqrt(width * height)

    /** Intersection over union; 0 where both are empty. */
    fun iou(other: Box): Double {
        val across = max(0.0, minOf(x1, other.x1) - max(x0, other.x0))
        val down = max(0.0, minOf(y1, other.y1) - max(y0, other.y0))
        val union = width * height + other.width * other.height - across * down
        return if (union > 0) across * down / union else 0.0
    }

    companion object {
        /** The tight box of the finite points among (K, 2) interleaved x and y; null where there is none. */
        fun around(points: FloatArray): Box? {
            var x0 = Double.POSITIVE_INFINITY
            var y0 = Double.POSITIVE_INFINITY
            var x1 = Double.NEGATIVE_INFINITY
            var y1 = Double.NEGATIVE_INFINITY
            for (i in 0 until points.size / 2) {
                val x = points[2 * i].toDouble()
                val y = points[2 * i + 1].toDouble()
                if (!x.isFinite() || !y.isFinite()) continue
                x0 = minOf(x0, x)
                x1 = max(x1, x)
                y0 = minOf(y0, y)
                y1 = max(y1, y)
            }
            return if (x0 <= x1) Box(x0, y0, x1, y1) else null
        }

        /** The box whose square crop is the whole image, border repeated along the shorter side. */
        fun ofFrame(width: Int, height: Int, scale: Double): Box {
            val half = max(width, height) / scale / 2
            val x = (width - 1) / 2.0
            val y = (height - 1) / 2.0
            return Box(x - half, y - half, x + half, y + half)
        }
    }
}

/** x' = a x + b y + c, y' = d x + e y + f. */
data class Affine(val a: Double, val b: Double, val c: Double, val d: Double, val e: Double, val f: Double) {
    val determinant: Double get() = a * e - b * d

    fun x(x: Double, y: Double): Double = a * x + b * y + c

    fun y(x: Double, y: Double): Double = d * x + e * y + f

    /** This after [first]. */
    fun after(first: Affine) = Affine(
        a * first.a + b * first.d, a * first.b + b * first.e, a * first.c + b * first.f + c,
        d * first.a + e * first.d, d * first.b + e * first.e, d * first.c + e * first.f + f,
    )

    fun inverse(): Affine {
        val det = determinant
        must(abs(det) > 0 && det.isFinite(), "affine", "invertible", this)
        return Affine(e / det, -b / det, (b * f - e * c) / det, -d / det, a / det, (d * c - a * f) / det)
    }
}

/**
 * A rotated square of the image: centre px, side px, turned by [angleDeg].
 *
 * A positive angle is a crop frame turned clockwise on the screen (y down), so a head that leans the same way stands
 * upright in the crop. Crop coordinates run over [0, 1] from edge to edge.
 */
data class Crop(val centerX: Double, val centerY: Double, val size: Double, val angleDeg: Double = 0.0) {
    init {
        val finite = centerX.isFinite() && centerY.isFinite() && angleDeg.isFinite() && size.isFinite()
        must(finite && size > 0, "crop", "finite with size > 0", "$centerX $centerY $size $angleDeg")
    }

    /** Image pixels -> pixels of the side x side crop, integer centres on both sides. */
    fun matrix(side: Int): Affine {
        val scale = side / size
        val angle = Math.toRadians(angleDeg)
        val cos = cos(angle) * scale
        val sin = sin(angle) * scale
        val middle = (side - 1) / 2.0
        return Affine(
            cos, sin, middle - (cos * centerX + sin * centerY),
            -sin, cos, middle - (-sin * centerX + cos * centerY),
        )
    }

    /** (K, 2) in the crop's [0, 1], interleaved -> pixels of the image, in place. */
    fun toImage(points: FloatArray) {
        val back = matrix(1).inverse()
        for (i in 0 until points.size / 2) {
            val x = points[2 * i] - 0.5
            val y = points[2 * i + 1] - 0.5
            points[2 * i] = back.x(x, y).toFloat()
            points[2 * i + 1] = back.y(x, y).toFloat()
        }
    }

    companion object {
        /**
         * The rule of every released model, `square`: centred on the tight box of the 68 points, side =
         * scale * longer side.
         */
        fun square(box: Box, scale: Double): Crop {
            val side = max(box.width, box.height)
            must(side > 0, "box", "with a positive side", box)
            return Crop(box.centerX, box.centerY, scale * side)
        }
    }
}
