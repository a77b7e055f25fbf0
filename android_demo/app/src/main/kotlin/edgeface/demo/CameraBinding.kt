package edgeface.demo

import android.content.Context
import android.util.Size
import androidx.camera.core.Camera
import androidx.camera.core.CameraInfoUnavailableException
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.core.resolutionselector.AspectRatioStrategy
import androidx.camera.core.resolutionselector.ResolutionSelector
import androidx.camera.core.resolutionselector.ResolutionStrategy
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor

/**
 * The camera: preview and analysis of one field of view, so that what is drawn on the preview lies where it was
 * found.
 */
class CameraBinding(
    private val context: Context,
    private val owner: LifecycleOwner,
    private val view: PreviewView,
    /** Takes each frame, with whether it is the front camera's, on [analysisThread]. */
    private val analyze: (ImageProxy, Boolean) -> Unit,
    private val analysisThread: Executor,
) {
    private var provider: ProcessCameraProvider? = null
    private var preview: Preview? = null
    private var analysis: ImageAnalysis? = null

    /** Calls back on the main thread: ready, or with what went wrong. */
    fun open(ready: () -> Unit, failed: (Exception) -> Unit) {
        val future = ProcessCameraProvider.getInstance(context)
        future.addListener(
            {
                try {
                    provider = future.get()
                    ready()
                } catch (error: Exception) {
                    failed(error)
                }
            },
            { view.post(it) },
        )
    }

    fun has(front: Boolean): Boolean = try {
        provider?.hasCamera(selector(front)) == true
    } catch (error: CameraInfoUnavailableException) {
        false
    }

    /** In place of what was bound before; throws where the device cannot do it. */
    fun bind(front: Boolean): Camera? {
        val provider = provider ?: return null
        val rotation = view.display?.rotation ?: return null
        provider.unbindAll()
        val preview = Preview.Builder()
            .setResolutionSelector(size(PREVIEW))
            .setTargetRotation(rotation)
            .build()
        val analysis = ImageAnalysis.Builder()
            .setResolutionSelector(size(ANALYSIS))
            .setTargetRotation(rotation)
            .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
            .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
            .build()
        preview.setSurfaceProvider(view.surfaceProvider)
        analysis.setAnalyzer(analysisThread) { image -> analyze(image, front) }
        this.preview = preview
        this.analysis = analysis
        return provider.bindToLifecycle(owner, selector(front), preview, analysis)
    }

    /** The display turned while the activity lives. */
    fun turn() {
        val rotation = view.display?.rotation ?: return
        preview?.targetRotation = rotation
        analysis?.targetRotation = rotation
    }

    private fun selector(front: Boolean) =
        if (front) CameraSelector.DEFAULT_FRONT_CAMERA else CameraSelector.DEFAULT_BACK_CAMERA

    /** Sensors are 4:3: both streams then show all of it. */
    private fun size(wanted: Size) = ResolutionSelector.Builder()
        .setAspectRatioStrategy(AspectRatioStrategy.RATIO_4_3_FALLBACK_AUTO_STRATEGY)
        .setResolutionStrategy(ResolutionStrategy(wanted, ResolutionStrategy.FALLBACK_RULE_CLOSEST_HIGHER_THEN_LOWER))
        .build()

    private companion object {
        val PREVIEW = Size(1280, 960)
        val ANALYSIS = Size(640, 480)
    }
}
