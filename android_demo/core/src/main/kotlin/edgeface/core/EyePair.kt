package edgeface.core

/**
 * A face as Android's own `android.media.FaceDetector` reports it: the middle between the eyes and their distance,
 * px.
 */
data class EyePair(val middleX: Double, val middleY: Double, val distance: Double) {
    /**
     * An estimate of the tight box of the 68 points of an upright frontal face.
     *
     * The factors are medians over the 1935 faces of 300W train whose eyes lean by less than 0.3 of their
     * distance; on 540 such faces of 300W test the estimate overlaps the true box with a mean IoU of 0.78. The
     * next frame's box comes from the landmarks, so this one need not be better.
     */
    fun faceBox(): Box = Box(
        middleX - ACROSS * distance, middleY - ABOVE * distance,
        middleX + ACROSS * distance, middleY + BELOW * distance,
    )

    private companion object {
        const val ACROSS = 1.108
        const val ABOVE = 0.436
        const val BELOW = 1.830
    }
}
