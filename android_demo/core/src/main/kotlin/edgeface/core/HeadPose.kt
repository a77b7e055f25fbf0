package edgeface.core

import kotlin.math.cos
import kotlin.math.sin

/** Head pose as in 300W-LP: degrees in the order yaw, pitch, roll; yaw > 0 turns the face to the image's left. */
object HeadPose {
    /**
     * [axes] (3, 3), row by row: the face's own x (image right at rest), y (down) and z (out of the face), each
     * in screen axes x right, y down, z toward the viewer. `edgeface.runtime.drawing.axes_on_screen` is the
     * same.
     */
    fun axesOnScreen(poseDeg: FloatArray, axes: FloatArray) {
        val yaw = Math.toRadians(poseDeg[0].toDouble())
        val pitch = Math.toRadians(poseDeg[1].toDouble())
        val roll = Math.toRadians(poseDeg[2].toDouble())
        val cy = cos(yaw)
        val sy = sin(yaw)
        val cp = cos(pitch)
        val sp = sin(pitch)
        val cr = cos(roll)
        val sr = sin(roll)
        // F Rz(roll) Ry(yaw) Rx(pitch) F with F = diag(1, -1, 1): a model with y up, seen on a screen with y down.
        axes[0] = (cr * cy).toFloat()
        axes[1] = (-(cr * sy * sp - sr * cp)).toFloat()
        axes[2] = (cr * sy * cp + sr * sp).toFloat()
        axes[3] = (-(sr * cy)).toFloat()
        axes[4] = (sr * sy * sp + cr * cp).toFloat()
        axes[5] = (-(sr * sy * cp - cr * sp)).toFloat()
        axes[6] = (-sy).toFloat()
        axes[7] = (-(cy * sp)).toFloat()
        axes[8] = (cy * cp).toFloat()
    }
}
