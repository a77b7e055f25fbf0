package edgeface.demo

import androidx.camera.core.ImageProxy
import edgeface.core.Box
import edgeface.core.Frame
import edgeface.core.OneEuro
import edgeface.core.TrackedFace
import edgeface.core.Tracker
import edgeface.core.TrackerConfig

/** What one frame gave; valid during the call alone. */
class Scene(
    val imageWidth: Int,
    val imageHeight: Int,
    /** Whether a front camera took it, whose picture the screen mirrors. */
    val front: Boolean,
    val faces: List<TrackedFace>,
    val runner: ModelRunner,
    val times: Times,
)

/** Exponential means of what a frame takes. */
class Times {
    var framesPerSecond = 0.0
        private set
    var modelMs = 0.0
        private set
    var frameMs = 0.0
        private set
    private var lastNanos = 0L

    /** [modelNanos]: 0 where no model ran in this frame. */
    fun add(startNanos: Long, endNanos: Long, modelNanos: Long) {
        if (lastNanos != 0L) framesPerSecond = mix(framesPerSecond, NANOS / maxOf(1L, startNanos - lastNanos))
        lastNanos = startNanos
        frameMs = mix(frameMs, (endNanos - startNanos) / MS)
        if (modelNanos > 0) modelMs = mix(modelMs, modelNanos / MS)
    }

    private fun mix(old: Double, new: Double): Double = if (old == 0.0) new else old + SHARE * (new - old)

    private companion object {
        const val NANOS = 1e9
        const val MS = 1e6
        const val SHARE = 0.1
    }
}

/**
 * From a camera frame to faces. Everything here happens on the one analysis thread, but for [tap]; while it works, the
 * camera drops frames (KEEP_ONLY_LATEST), so nothing piles up.
 */
class FaceAnalyzer(
    private val show: (Scene) -> Unit,
    private val failed: (ModelRunner, Exception) -> Unit,
) {
    private val frame = Frame()
    private val search = FaceSearch()
    private var runner: ModelRunner? = null
    private var tracker: Tracker? = null
    private var times = Times()
    private var smoothing = true
    private var front = true

    @Volatile
    private var tapped: Box? = null

    /** Another model, which this object closes in the end; null: none. */
    fun use(next: ModelRunner?) {
        runner?.close()
        runner = next
        restart()
    }

    fun smooth(on: Boolean) {
        smoothing = on
        restart()
    }

    /** Forgets faces and times. */
    private fun restart() {
        val filter = if (smoothing) OneEuro() else null
        val config = TrackerConfig(LOOK_EVERY, PATIENCE, UNSEEN, maxFaces = 1, smoothing = filter)
        tracker = runner?.let { Tracker(it, config) }
        times = Times()
    }

    /** A finger on a face, from any thread. */
    fun tap(box: Box) {
        tapped = box
    }

    /** A frame of the front camera, or of the back one. */
    fun analyze(image: ImageProxy, front: Boolean) {
        val start = System.nanoTime()
        val time = image.imageInfo.timestamp / 1e9
        image.use(::copy)
        if (front != this.front) {
            this.front = front
            restart()
        }
        val runner = runner ?: return
        val tracker = tracker ?: return
        tapped?.let {
            tapped = null
            tracker.clear()
            search.seed(it)
        }
        try {
            runner.frame = frame
            search.frame = frame
            val faces = tracker.update(frame.width, frame.height, time, search)
            times.add(start, System.nanoTime(), if (faces.isEmpty()) 0 else runner.modelNanos)
            show(Scene(frame.width, frame.height, front, faces, runner, times))
        } catch (error: Exception) {
            use(null)
            failed(runner, error)
        }
    }

    /** Into an array that is kept: the camera has its buffer back at once. */
    private fun copy(image: ImageProxy) {
        val plane = image.planes[0]
        val buffer = plane.buffer
        buffer.rewind()
        frame.bufferWidth = image.width
        frame.bufferHeight = image.height
        frame.rowStride = plane.rowStride
        frame.pixelStride = plane.pixelStride
        frame.rotationDeg = image.imageInfo.rotationDegrees
        val size = buffer.remaining()
        if (frame.pixels.size < size) frame.pixels = ByteArray(size)
        buffer.get(frame.pixels, 0, size)
    }

    private companion object {
        /** The framework's detector sees no profiles: a face that only the landmarks vouch for may stay ten seconds. */
        const val LOOK_EVERY = 30
        const val UNSEEN = 10
        const val PATIENCE = 8
    }
}
