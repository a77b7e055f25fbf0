package edgeface.demo

import android.Manifest
import android.annotation.SuppressLint
import android.content.Intent
import android.content.pm.PackageManager
import android.hardware.display.DisplayManager
import android.net.Uri
import android.os.Bundle
import android.provider.Settings
import android.view.MotionEvent
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.CheckBox
import android.widget.Spinner
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.view.PreviewView
import edgeface.core.Box
import edgeface.core.Viewport
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** The one screen: the camera with what the model sees in it, and what keeps it from seeing. */
class MainActivity : ComponentActivity() {
    private lateinit var preview: PreviewView
    private lateinit var overlay: OverlayView
    private lateinit var status: TextView
    private lateinit var notice: View
    private lateinit var noticeText: TextView
    private lateinit var noticeButton: Button
    private lateinit var models: Spinner

    /** Everything that a model does happens on it. */
    private val analysisThread: ExecutorService = Executors.newSingleThreadExecutor()
    private val analyzer = FaceAnalyzer(::show, ::modelStopped)
    private lateinit var camera: CameraBinding
    private var cameraBegun = false
    private var front = true
    private var names = emptyList<String>()
    private var statusAtMs = 0L

    @Volatile
    private var model: String? = null

    /** What keeps faces from being seen; the first of them is told. */
    private enum class Trouble { PERMISSION, CAMERA, MODEL }

    private val troubles = sortedMapOf<Trouble, String>()
    private var passing: String? = null

    @Volatile
    private var imageWidth = 0

    @Volatile
    private var imageHeight = 0

    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) beginCamera() else askForPermission(refused = true)
    }
    private val displays = object : DisplayManager.DisplayListener {
        override fun onDisplayAdded(id: Int) = Unit

        override fun onDisplayRemoved(id: Int) = Unit

        override fun onDisplayChanged(id: Int) = camera.turn()
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        preview = findViewById(R.id.preview)
        overlay = findViewById(R.id.overlay)
        status = findViewById(R.id.status)
        notice = findViewById(R.id.notice)
        noticeText = findViewById(R.id.notice_text)
        noticeButton = findViewById(R.id.notice_button)
        models = findViewById(R.id.models)
        preview.scaleType = PreviewView.ScaleType.FILL_CENTER
        camera = CameraBinding(this, this, preview, analyzer, analysisThread)
        front = savedInstanceState?.getBoolean(FRONT) ?: true
        chooseModels(savedInstanceState?.getString(MODEL))
        val smooth = savedInstanceState?.getBoolean(SMOOTH) ?: true
        val smoothing = findViewById<CheckBox>(R.id.smoothing)
        smoothing.isChecked = smooth
        smoothing.setOnCheckedChangeListener { _, on -> analysisThread.execute { analyzer.smooth(on) } }
        analysisThread.execute { analyzer.smooth(smooth) }
        findViewById<View>(R.id.switch_camera).setOnClickListener { switchCamera() }
        listenForTaps()
    }

    override fun onStart() {
        super.onStart()
        getSystemService(DisplayManager::class.java).registerDisplayListener(displays, null)
        // Here and not in onCreate: the permission may have been given in the settings meanwhile.
        val granted = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED
        when {
            granted && !cameraBegun -> beginCamera()
            !granted -> askForPermission(refused = false)
        }
    }

    override fun onStop() {
        getSystemService(DisplayManager::class.java).unregisterDisplayListener(displays)
        super.onStop()
    }

    override fun onDestroy() {
        // After the last frame, on the thread that runs the model.
        analysisThread.execute { analyzer.use(null) }
        analysisThread.shutdown()
        super.onDestroy()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putBoolean(FRONT, front)
        outState.putString(MODEL, model)
        outState.putBoolean(SMOOTH, findViewById<CheckBox>(R.id.smoothing).isChecked)
    }

    // Models

    private fun chooseModels(wanted: String?) {
        names = ModelRunner.names(this)
        models.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, names)
        models.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>, view: View?, position: Int, id: Long) =
                load(names[position])

            override fun onNothingSelected(parent: AdapterView<*>) = Unit
        }
        if (names.isEmpty()) return trouble(Trouble.MODEL, getString(R.string.state_no_models))
        val first = names.indexOf(wanted).takeIf { it >= 0 } ?: names.indexOfFirst { it.startsWith(DEFAULT_MODEL) }
        models.setSelection(maxOf(0, first))
    }

    private fun load(name: String) {
        if (name == model) return
        model = name
        trouble(Trouble.MODEL, null)
        pass(getString(R.string.state_loading, name))
        analysisThread.execute {
            // Another one was chosen while this one waited.
            if (name != model) return@execute
            try {
                analyzer.use(null)
                analyzer.use(ModelRunner.load(applicationContext, name))
            } catch (error: Exception) {
                runOnUiThread { modelFailed(name, error) }
            } catch (error: LinkageError) {
                runOnUiThread { modelFailed(name, error) }
            }
        }
    }

    private fun modelStopped(error: Exception) = runOnUiThread { modelFailed(model.orEmpty(), error) }

    private fun modelFailed(name: String, error: Throwable) {
        if (name != model) return
        // Chosen again, it is tried again.
        model = null
        val reason = error.message ?: error.javaClass.simpleName
        trouble(Trouble.MODEL, getString(R.string.state_model_failed, name, reason))
    }

    // Camera

    private fun beginCamera() {
        cameraBegun = true
        trouble(Trouble.PERMISSION, null)
        pass(getString(R.string.state_starting))
        camera.open(
            ready = {
                if (!camera.has(front)) front = !front
                // The preview has a display, and so a rotation, once it is laid out.
                preview.post { bind() }
            },
            failed = ::cameraFailed,
        )
    }

    private fun bind() {
        if (isDestroyed || preview.display == null) return
        if (!camera.has(front)) return trouble(Trouble.CAMERA, getString(R.string.state_no_camera))
        try {
            val states = camera.bind(front)?.cameraInfo?.cameraState ?: return
            states.removeObservers(this)
            states.observe(this) { state ->
                val error = state.error
                val text = error?.let { getString(R.string.state_camera_failed, "${state.type} ${it.code}") }
                trouble(Trouble.CAMERA, text)
            }
        } catch (error: IllegalArgumentException) {
            cameraFailed(error)
        } catch (error: IllegalStateException) {
            cameraFailed(error)
        }
    }

    private fun cameraFailed(error: Exception) =
        trouble(Trouble.CAMERA, getString(R.string.state_camera_failed, error.message.orEmpty()))

    private fun switchCamera() {
        if (!camera.has(!front)) return
        front = !front
        overlay.clear()
        analysisThread.execute { analyzer.restart() }
        bind()
    }

    // Faces

    /** On the analysis thread. */
    private fun show(scene: Scene) {
        imageWidth = scene.imageWidth
        imageHeight = scene.imageHeight
        overlay.show(scene, mirrored = front)
        val now = System.currentTimeMillis()
        if (now - statusAtMs < STATUS_EVERY_MS) return
        statusAtMs = now
        val text = statusOf(scene)
        val nobody = scene.faces.isEmpty()
        runOnUiThread {
            status.visibility = View.VISIBLE
            status.text = text
            pass(if (nobody) getString(R.string.state_no_face) else null)
        }
    }

    private fun statusOf(scene: Scene): String {
        val runner = scene.runner
        val processor = getString(if (runner.processor == Processor.GPU) R.string.gpu else R.string.cpu)
        val times = scene.times
        val figures = arrayOf(times.framesPerSecond, times.modelMs, times.frameMs)
        val lines = arrayListOf(getString(R.string.status, runner.card.name, processor, *figures))
        val refusal = runner.gpuRefusal?.lineSequence()?.first()?.take(REASON_CHARS)
        refusal?.let { lines.add(getString(R.string.gpu_refused, it)) }
        scene.faces.firstOrNull()?.face?.poseDeg?.let { lines.add(getString(R.string.pose, it[0], it[1], it[2])) }
        return lines.joinToString("\n")
    }

    @SuppressLint("ClickableViewAccessibility")
    private fun listenForTaps() {
        overlay.setOnTouchListener { _, event ->
            if (event.action == MotionEvent.ACTION_UP && imageWidth > 0) tap(event.x.toDouble(), event.y.toDouble())
            true
        }
    }

    /** A face of half the shorter side around the finger: the landmarks correct it within a few frames. */
    private fun tap(x: Double, y: Double) {
        val port = Viewport(imageWidth, imageHeight, overlay.width, overlay.height, front)
        val half = TAPPED_FACE * minOf(imageWidth, imageHeight) / 2
        val imageX = port.toImageX(x)
        val imageY = port.toImageY(y)
        analyzer.tap(Box(imageX - half, imageY - half, imageX + half, imageY + half))
    }

    // Notices

    private fun askForPermission(refused: Boolean) {
        // Refused for good, Android shows no question any more: only the settings help.
        val ask = !refused || shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)
        noticeButton.setText(if (ask) R.string.permission_ask else R.string.permission_settings)
        noticeButton.setOnClickListener { if (ask) permission.launch(Manifest.permission.CAMERA) else openSettings() }
        trouble(Trouble.PERMISSION, getString(if (ask) R.string.permission_needed else R.string.permission_refused))
    }

    private fun openSettings() {
        startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))
    }

    /** A notice that stays until its cause is gone (null). */
    private fun trouble(cause: Trouble, text: String?) {
        if (text == null) troubles.remove(cause) else troubles[cause] = text
        if (text != null) overlay.clear()
        tell()
    }

    /** A notice that the next one replaces; it shows only where there is no trouble. */
    private fun pass(text: String?) {
        passing = text
        tell()
    }

    private fun tell() {
        val text = troubles.values.firstOrNull() ?: passing
        notice.visibility = if (text == null) View.GONE else View.VISIBLE
        noticeButton.visibility = if (Trouble.PERMISSION in troubles) View.VISIBLE else View.GONE
        // Set anew, the same text would be read aloud again.
        if (text != null && noticeText.text.toString() != text) noticeText.text = text
    }

    private companion object {
        const val FRONT = "front"
        const val MODEL = "model"
        const val SMOOTH = "smooth"
        const val DEFAULT_MODEL = "acdc_n_float16"
        const val STATUS_EVERY_MS = 250L
        const val REASON_CHARS = 80
        const val TAPPED_FACE = 0.5
    }
}
