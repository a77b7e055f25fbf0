package edgeface.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import edgeface.core.HeadPose
import edgeface.core.Markup
import edgeface.core.Viewport

/**
 * Landmarks, their lines and the head's axes over the preview. Filled from the analysis thread, drawn on the main
 * one.
 */
class OverlayView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeCap = Paint.Cap.ROUND
    }
    private val point = Paint(Paint.ANTI_ALIAS_FLAG)
    private val radius = resources.getDimension(R.dimen.point)
    private val lineWidth = resources.getDimension(R.dimen.line)
    private val axisWidth = resources.getDimension(R.dimen.axis)
    private val axisColors = intArrayOf(color(R.color.axis_x), color(R.color.axis_y), color(R.color.axis_z))
    private val otherColor = color(R.color.jaw)
    private val groupColors = mapOf(
        "jaw" to otherColor,
        "brow" to color(R.color.brow),
        "nose" to color(R.color.nose),
        "eye" to color(R.color.eye),
        "lip" to color(R.color.mouth),
        "mouth" to color(R.color.mouth),
        "pupil" to color(R.color.pupil),
    )

    private val lock = Any()
    private var points = FloatArray(0)
    private var runs = emptyList<Run>()
    private var markup: Markup? = null
    private val axes = FloatArray(9)
    private val order = intArrayOf(0, 1, 2)
    private var hasFace = false
    private var hasPose = false
    private var centerX = 0f
    private var centerY = 0f
    private var axisLength = 0f

    private class Run(val indices: IntArray, val color: Int, val joined: Boolean)

    /** Takes a copy of what it draws. */
    fun show(scene: Scene) {
        synchronized(lock) {
            val tracked = scene.faces.firstOrNull()
            hasFace = tracked != null && width > 0 && height > 0
            if (tracked != null && hasFace) {
                val port = Viewport(scene.imageWidth, scene.imageHeight, width, height, mirrored = scene.front)
                val landmarks = tracked.face.landmarks
                if (points.size != landmarks.size) points = FloatArray(landmarks.size)
                for (i in 0 until landmarks.size / 2) {
                    points[2 * i] = port.toViewX(landmarks[2 * i].toDouble()).toFloat()
                    points[2 * i + 1] = port.toViewY(landmarks[2 * i + 1].toDouble()).toFloat()
                }
                colour(scene.runner.card.markup)
                hasPose = "pose" in scene.runner.card.outputs || scene.runner.card.decode?.pose != null
                HeadPose.axesOnScreen(tracked.face.poseDeg, axes)
                centerX = port.toViewX(tracked.box.centerX).toFloat()
                centerY = port.toViewY(tracked.box.centerY).toFloat()
                // What is mirrored keeps its y and z.
                axisLength = (tracked.box.size * port.scale / 2).toFloat()
                if (scene.front) for (row in 0 until 3) axes[3 * row] = -axes[3 * row]
            }
        }
        postInvalidateOnAnimation()
    }

    fun clear() {
        synchronized(lock) { hasFace = false }
        postInvalidateOnAnimation()
    }

    /** The groups of a markup with their colours, made anew only with another model. */
    private fun colour(name: String) {
        if (markup?.name == name) return
        val scheme = Markup.named(name)
        markup = scheme
        runs = scheme.groups.map { (group, indices) ->
            val color = groupColors[group.substringBefore('_').removeSuffix("s")] ?: otherColor
            Run(indices, color, joined = group in scheme.lines)
        }
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        synchronized(lock) {
            if (!hasFace) return
            line.strokeWidth = lineWidth
            // All lines first: a point lies on top of those that end in it.
            for (run in runs) if (run.joined) drawLines(canvas, run)
            for (run in runs) drawPoints(canvas, run)
            if (hasPose) drawAxes(canvas)
        }
    }

    private fun drawLines(canvas: Canvas, run: Run) {
        line.color = run.color
        for (n in 1 until run.indices.size) {
            val from = 2 * run.indices[n - 1]
            val to = 2 * run.indices[n]
            canvas.drawLine(points[from], points[from + 1], points[to], points[to + 1], line)
        }
    }

    private fun drawPoints(canvas: Canvas, run: Run) {
        point.color = run.color
        for (index in run.indices) canvas.drawCircle(points[2 * index], points[2 * index + 1], radius, point)
    }

    /** The farthest first, so that the nearest lies on top. */
    private fun drawAxes(canvas: Canvas) {
        line.strokeWidth = axisWidth
        for (n in 1 until 3) {
            for (m in n downTo 1) if (depth(order[m]) < depth(order[m - 1])) swap(m)
        }
        for (row in order) {
            line.color = axisColors[row]
            val tipX = centerX + axisLength * axes[3 * row]
            canvas.drawLine(centerX, centerY, tipX, centerY + axisLength * axes[3 * row + 1], line)
        }
    }

    private fun depth(row: Int): Float = axes[3 * row + 2]

    private fun swap(m: Int) {
        val kept = order[m]
        order[m] = order[m - 1]
        order[m - 1] = kept
    }

    private fun color(id: Int): Int = context.getColor(id)
}
