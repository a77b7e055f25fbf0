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
import androidx.camera.core.CameraState
import androidx.camera.view.PreviewView
import androidx.lifecycle.LiveData
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
    private var cameraStates: LiveData<CameraState>? = null
    private var front = true
    private var names = emptyList<String>()
    private var statusAtMs = 0L

    @Volatile
    private var model: String? = null

    /** What keeps faces from being seen; the first of them is told. */
    private enum class Trouble { PERMISSION, CAMERA, MODEL }

    /** A text and, where something can be done about it, a button (a string, 0: none). */
    private class Notice(val text: String, val button: Int = 0, val act: () -> Unit = {})

    private val troubles = sortedMapOf<Trouble, Notice>()
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
        camera = CameraBinding(this, this, preview, analyzer::analyze, analysisThread)
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
        // The display may have turned while nobody listened.
        camera.turn()
        // Here and not in onCreate: the permission may have been given in the settings meanwhile.
        val granted = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED
        if (!granted) return askForPermission(refused = false)
        trouble(Trouble.PERMISSION, null)
        if (!cameraBegun) beginCamera()
    }

    override fun onStop() {
        getSystemService(DisplayManager::class.java).unregisterDisplayListener(displays)
        super.onStop()
    }

    override fun onDestroy() {
        // A model that still waits to be loaded is not.
        model = null
        // After the last frame, on the thread that runs the model.
        analysisThread.execute { analyzer.use(null) }
        analysisThread.shutdown()
        super.onDestroy()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putBoolean(FRONT, front)
        outState.putString(MODEL, names.getOrNull(models.selectedItemPosition))
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
        if (names.isEmpty()) return trouble(Trouble.MODEL, Notice(getString(R.string.state_no_models)))
        val first = names.indexOf(wanted).takeIf { it >= 0 } ?: names.indexOfFirst { it.startsWith(DEFAULT_MODEL) }
        models.setSelection(maxOf(0, first))
    }

    private fun load(name: String) {
        if (name == model) return
        model = name
        status.visibility = View.GONE
        trouble(Trouble.MODEL, null)
        pass(getString(R.string.state_loading, name))
        analysisThread.execute { begin(name) }
    }

    /** On the analysis thread. */
    private fun begin(name: String, gpuRefusal: String? = null) {
        // Another one was chosen while this one waited.
        if (name != model) return
        try {
            analyzer.use(null)
            analyzer.use(ModelRunner.load(applicationContext, name, gpuRefusal))
        } catch (error: Exception) {
            runOnUiThread { modelFailed(name, error) }
        } catch (error: LinkageError) {
            runOnUiThread { modelFailed(name, error) }
        }
    }

    /** On the analysis thread. A GPU may fail in the middle of its work: then the CPU goes on. */
    private fun modelStopped(runner: ModelRunner, error: Exception) {
        if (runner.processor == Processor.GPU) return begin(runner.name, ModelRunner.reason(error))
        runOnUiThread { modelFailed(runner.name, error) }
    }

    private fun modelFailed(name: String, error: Throwable) {
        if (name != model) return
        model = null
        status.visibility = View.GONE
        val text = getString(R.string.state_model_failed, name, ModelRunner.reason(error))
        // The list does not tell when the same one is chosen again.
        trouble(Trouble.MODEL, Notice(text, R.string.try_again) { load(name) })
    }

    // Camera

    private fun beginCamera() {
        cameraBegun = true
        trouble(Trouble.PERMISSION, null)
        trouble(Trouble.CAMERA, null)
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
        // What the last camera still has to say is not about this one.
        cameraStates?.removeObservers(this)
        trouble(Trouble.CAMERA, null)
        if (!camera.has(front)) return trouble(Trouble.CAMERA, Notice(getString(R.string.state_no_camera)))
        try {
            cameraStates = camera.bind(front)?.cameraInfo?.cameraState
            cameraStates?.observe(this) { state ->
                trouble(Trouble.CAMERA, state.error?.let { Notice(cameraTrouble(it.code)) })
            }
        } catch (error: IllegalArgumentException) {
            cameraFailed(error)
        } catch (error: IllegalStateException) {
            cameraFailed(error)
        }
    }

    /** CameraX opens a camera by itself as soon as another app lets go of it. */
    private fun cameraTrouble(code: Int): String = when (code) {
        CameraState.ERROR_CAMERA_IN_USE, CameraState.ERROR_MAX_CAMERAS_IN_USE -> getString(R.string.state_camera_in_use)
        CameraState.ERROR_CAMERA_DISABLED -> getString(R.string.state_camera_disabled)
        else -> getString(R.string.state_camera_failed, "CameraX $code")
    }

    private fun cameraFailed(error: Exception) {
        val text = getString(R.string.state_camera_failed, ModelRunner.reason(error))
        trouble(Trouble.CAMERA, Notice(text, R.string.try_again, ::beginCamera))
    }

    private fun switchCamera() {
        if (!camera.has(!front)) return
        front = !front
        overlay.clear()
        bind()
    }

    // Faces

    /** On the analysis thread. */
    private fun show(scene: Scene) {
        imageWidth = scene.imageWidth
        imageHeight = scene.imageHeight
        overlay.show(scene)
        val now = System.currentTimeMillis()
        if (now - statusAtMs < STATUS_EVERY_MS) return
        statusAtMs = now
        val text = statusOf(scene)
        val nobody = scene.faces.isEmpty()
        val name = scene.runner.name
        runOnUiThread {
            // Another model is being loaded, or this one has failed since.
            if (name != model) return@runOnUiThread
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
        val notice = if (ask) {
            Notice(getString(R.string.permission_needed), R.string.permission_ask) {
                permission.launch(Manifest.permission.CAMERA)
            }
        } else {
            Notice(getString(R.string.permission_refused), R.string.permission_settings, ::openSettings)
        }
        trouble(Trouble.PERMISSION, notice)
    }

    private fun openSettings() {
        startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))
    }

    /** A notice that stays until its cause is gone (null). */
    private fun trouble(cause: Trouble, notice: Notice?) {
        if (notice == null) troubles.remove(cause) else troubles[cause] = notice
        if (notice != null) overlay.clear()
        tell()
    }

    /** A notice that the next one replaces; it shows only where there is no trouble. */
    private fun pass(text: String?) {
        passing = text
        tell()
    }

    private fun tell() {
        val shown = troubles.values.firstOrNull() ?: passing?.let { Notice(it) }
        notice.visibility = if (shown == null) View.GONE else View.VISIBLE
        if (shown == null) return
        // Set anew, the same text would be read aloud again.
        if (noticeText.text.toString() != shown.text) noticeText.text = shown.text
        noticeButton.visibility = if (shown.button == 0) View.GONE else View.VISIBLE
        if (shown.button == 0) return
        noticeButton.setText(shown.button)
        noticeButton.setOnClickListener { shown.act() }
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
