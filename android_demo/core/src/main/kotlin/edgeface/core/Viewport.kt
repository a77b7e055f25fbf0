package edgeface.core

import kotlin.math.max

/**
 * Where an upright image lies in a view that it fills: scaled by one factor until both sides are covered, centred,
 * the rest cut off, and mirrored for a front camera, as a camera preview does it. View pixels are edges: (0, 0) is
 * the corner.
 */
data class Viewport(
    val imageWidth: Int,
    val imageHeight: Int,
    val viewWidth: Int,
    val viewHeight: Int,
    val mirrored: Boolean,
) {
    init {
        must(imageWidth > 0 && imageHeight > 0, "image", "not empty", "$imageWidth x $imageHeight")
    }

    val scale: Double = max(viewWidth.toDouble() / imageWidth, viewHeight.toDouble() / imageHeight)
    private val left = (viewWidth - imageWidth * scale) / 2
    private val top = (viewHeight - imageHeight * scale) / 2

    fun toViewX(x: Double): Double {
        val across = left + (x + 0.5) * scale
        return if (mirrored) viewWidth - across else across
    }

    fun toViewY(y: Double): Double = top + (y + 0.5) * scale

    fun toImageX(x: Double): Double {
        val across = if (mirrored) viewWidth - x else x
        return (across - left) / scale - 0.5
    }

    fun toImageY(y: Double): Double = (y - top) / scale - 0.5
}
