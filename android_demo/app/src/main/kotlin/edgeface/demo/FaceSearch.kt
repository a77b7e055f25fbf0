package edgeface.demo

import android.graphics.Bitmap
import android.graphics.PointF
import android.media.FaceDetector
import edgeface.core.Box
import edgeface.core.Detector
import edgeface.core.EyePair
import edgeface.core.Frame
import edgeface.core.Viewport

/**
 * Faces by Android's own `android.media.FaceDetector`: on every phone, offline, without another library. It finds
 * pairs of eyes, so upright and nearly frontal faces alone; where it fails, a tap on the face does it ([seed]). From
 * there on the landmarks lead.
 */
class FaceSearch : Detector {
    /** The image to search; set it once a frame. */
    var frame = Frame()

    @Volatile
    private var seed: Box? = null
    private var detector: FaceDetector? = null
    private var bitmap: Bitmap? = null
    private var colors = IntArray(0)
    private val found = arrayOfNulls<FaceDetector.Face>(MAX_FACES)
    private val middle = PointF()
    private var lastNanos = 0L

    /** A face's box, from a finger: the next search gives it back, and nothing else. */
    fun seed(box: Box) {
        seed = box
    }

    override fun detect(): List<Box> {
        seed?.let { box ->
            seed = null
            return listOf(box)
        }
        // While there is no face every frame is searched, and a search costs more than a model.
        val now = System.nanoTime()
        if (now - lastNanos < PAUSE_NANOS) return emptyList()
        lastNanos = now
        return search()
    }

    private fun search(): List<Box> {
        val scale = LONGER_SIDE.toDouble() / maxOf(frame.width, frame.height)
        // The detector takes even widths only.
        val width = maxOf(2, (frame.width * scale).toInt() and 1.inv())
        val height = maxOf(2, (frame.height * scale).toInt())
        val small = bitmap?.takeIf { it.width == width && it.height == height }
            ?: Bitmap.createBitmap(width, height, Bitmap.Config.RGB_565).also {
                bitmap = it
                colors = IntArray(width * height)
                detector = FaceDetector(width, height, MAX_FACES)
            }
        // The image fills the small one but for the row and column that rounding takes.
        val port = Viewport(frame.width, frame.height, width, height, mirrored = false)
        fill(port, width, height)
        small.setPixels(colors, 0, width, 0, 0, width, height)
        val count = detector?.findFaces(small, found) ?: 0
        return (0 until count).mapNotNull { boxOf(found[it], port) }.sortedByDescending { it.size }
    }

    private fun boxOf(face: FaceDetector.Face?, port: Viewport): Box? {
        if (face == null || face.confidence() < FaceDetector.Face.CONFIDENCE_THRESHOLD) return null
        face.getMidPoint(middle)
        val distance = face.eyesDistance() / port.scale
        if (distance <= 0) return null
        val x = port.toImageX(middle.x.toDouble())
        return EyePair(x, port.toImageY(middle.y.toDouble()), distance).faceBox()
    }

    /** The nearest pixel of the upright image for each of the small one. */
    private fun fill(port: Viewport, width: Int, height: Int) {
        val toBuffer = frame.toBuffer()
        var at = 0
        for (y in 0 until height) {
            val imageY = Math.rint(port.toImageY(y + 0.5)).coerceIn(0.0, frame.height - 1.0)
            for (x in 0 until width) {
                val imageX = Math.rint(port.toImageX(x + 0.5)).coerceIn(0.0, frame.width - 1.0)
                val row = toBuffer.y(imageX, imageY).toInt() * frame.rowStride
                val pixel = row + toBuffer.x(imageX, imageY).toInt() * frame.pixelStride
                val red = frame.pixels[pixel].toInt() and 255
                val green = frame.pixels[pixel + 1].toInt() and 255
                val blue = frame.pixels[pixel + 2].toInt() and 255
                colors[at++] = OPAQUE or (red shl 16) or (green shl 8) or blue
            }
        }
    }

    private companion object {
        const val MAX_FACES = 4
        const val LONGER_SIDE = 320
        const val PAUSE_NANOS = 100_000_000L
        const val OPAQUE = 0xFF shl 24
    }
}
