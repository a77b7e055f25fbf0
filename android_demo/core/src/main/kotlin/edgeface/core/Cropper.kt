package edgeface.core

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sqrt

/**
 * A camera buffer seen upright. [pixels] holds R, G, B at the start of every [pixelStride] bytes, rows [rowStride]
 * bytes apart, [bufferWidth] x [bufferHeight] as the sensor delivers it; turned by [rotationDeg] clockwise it stands
 * upright.
 *
 * Nothing is turned in memory: the crop's affine is composed with the turn. Fields change, so that one object is
 * reused.
 */
class Frame {
    var pixels = ByteArray(0)
    var bufferWidth = 0
    var bufferHeight = 0
    var rowStride = 0
    var pixelStride = 4
    var rotationDeg = 0

    /** Of the upright image. */
    val width: Int get() = if (rotationDeg % 180 == 0) bufferWidth else bufferHeight
    val height: Int get() = if (rotationDeg % 180 == 0) bufferHeight else bufferWidth

    /** Upright pixels -> buffer pixels. */
    fun toBuffer(): Affine = when (rotationDeg) {
        0 -> Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        90 -> Affine(0.0, 1.0, 0.0, -1.0, 0.0, bufferHeight - 1.0)
        180 -> Affine(-1.0, 0.0, bufferWidth - 1.0, 0.0, -1.0, bufferHeight - 1.0)
        270 -> Affine(0.0, -1.0, bufferWidth - 1.0, 1.0, 0.0, 0.0)
        else -> throw InputError("rotation must be 0, 90, 180 or 270 degrees. Received: $rotationDeg")
    }

    fun check() {
        must(bufferWidth > 0 && bufferHeight > 0, "frame", "not empty", "$bufferWidth x $bufferHeight")
        must(pixelStride >= 3 && rowStride >= bufferWidth * pixelStride, "frame strides", "at least RGB", rowStride)
        val needed = (bufferHeight - 1) * rowStride + bufferWidth * pixelStride
        must(pixels.size >= needed, "frame", "$needed bytes", pixels.size)
    }
}

/**
 * Cuts crops as `edgeface.crop.warp` does: bilinear, area-averaged first where the crop is less than half its
 * source, border repeated. Gray is OpenCV's. Buffers are kept between calls; not for two threads at once.
 */
class Cropper(private val side: Int, private val channels: Int) {
    private var small = ByteArray(0)
    private var sums = FloatArray(0)
    private val columns = Cover()
    private val rows = Cover()

    init {
        must(side > 0 && (channels == 1 || channels == 3), "crop", "of 1 or 3 channels", "$side, $channels")
    }

    /** A new array: side * side * channels bytes, 0..255 unsigned, row by row. */
    fun cut(frame: Frame, crop: Crop): ByteArray = ByteArray(side * side * channels).also { cut(frame, crop, it) }

    /** The same into [out]. */
    fun cut(frame: Frame, crop: Crop, out: ByteArray) {
        frame.check()
        must(out.size == side * side * channels, "crop buffer", "${side * side * channels} bytes", out.size)
        val matrix = crop.matrix(side)
        val toBuffer = frame.toBuffer().after(matrix.inverse())
        val scale = sqrt(abs(matrix.determinant))
        if (scale < 0.5) {
            cutShrunk(frame, toBuffer, (1 / scale).toInt(), out)
        } else {
            val (width, height) = frame.bufferWidth to frame.bufferHeight
            sample(Source(frame.pixels, width, height, frame.rowStride, frame.pixelStride, 0, 0), toBuffer, out)
        }
    }

    /** Bilinear sampling aliases below half size: whole cells are averaged first, only those that the crop touches. */
    private fun cutShrunk(frame: Frame, toBuffer: Affine, factor: Int, out: ByteArray) {
        val width = max(1, Math.rint(frame.bufferWidth.toDouble() / factor).toInt())
        val height = max(1, Math.rint(frame.bufferHeight.toDouble() / factor).toInt())
        val cellX = frame.bufferWidth.toDouble() / width
        val cellY = frame.bufferHeight.toDouble() / height
        // Small pixel u sits at buffer pixel (u + .5) * cell - .5.
        val down = Affine(1 / cellX, 0.0, 0.5 / cellX - 0.5, 0.0, 1 / cellY, 0.5 / cellY - 0.5)
        val toSmall = down.after(toBuffer)
        val last = (side - 1).toDouble()
        var x0 = Double.POSITIVE_INFINITY
        var y0 = Double.POSITIVE_INFINITY
        var x1 = Double.NEGATIVE_INFINITY
        var y1 = Double.NEGATIVE_INFINITY
        for (corner in 0 until 4) {
            val cx = if (corner % 2 == 0) 0.0 else last
            val cy = if (corner < 2) 0.0 else last
            val x = toSmall.x(cx, cy)
            val y = toSmall.y(cx, cy)
            x0 = min(x0, x)
            x1 = max(x1, x)
            y0 = min(y0, y)
            y1 = max(y1, y)
        }
        val left = clamp(floor(x0), width)
        val top = clamp(floor(y0), height)
        val right = clamp(floor(x1) + 1, width)
        val bottom = clamp(floor(y1) + 1, height)
        shrink(frame, cellX, cellY, left, top, right, bottom)
        sample(Source(small, width, height, 3 * (right - left + 1), 3, left, top), toSmall, out)
    }

    /** Cells left..right x top..bottom of the shrunk buffer into [small], RGB: means over the covered area. */
    private fun shrink(frame: Frame, cellX: Double, cellY: Double, left: Int, top: Int, right: Int, bottom: Int) {
        val cells = right - left + 1
        val needed = cells * (bottom - top + 1) * 3
        if (small.size < needed) small = ByteArray(needed)
        if (sums.size < 3 * cells) sums = FloatArray(3 * cells)
        columns.cover(left, cells, cellX, frame.bufferWidth)
        rows.cover(top, bottom - top + 1, cellY, frame.bufferHeight)
        for (i in 0..bottom - top) {
            sums.fill(0f, 0, 3 * cells)
            for (y in rows.first[i]..rows.last[i]) addRow(frame, y, rows.weight(i, y), cells)
            val base = i * cells * 3
            for (j in 0 until 3 * cells) small[base + j] = rounded(sums[j])
        }
    }

    /** Adds one row of the buffer, averaged over each cell's columns, to [sums]. */
    private fun addRow(frame: Frame, y: Int, rowWeight: Float, cells: Int) {
        val pixels = frame.pixels
        val stride = frame.pixelStride
        val start = y * frame.rowStride
        val inner = rowWeight * columns.weight
        for (j in 0 until cells) {
            val first = columns.first[j]
            val last = columns.last[j]
            var at = start + first * stride
            val firstWeight = rowWeight * columns.firstWeight[j]
            var r = firstWeight * (pixels[at].toInt() and 255)
            var g = firstWeight * (pixels[at + 1].toInt() and 255)
            var b = firstWeight * (pixels[at + 2].toInt() and 255)
            for (x in first + 1 until last) {
                at += stride
                r += inner * (pixels[at].toInt() and 255)
                g += inner * (pixels[at + 1].toInt() and 255)
                b += inner * (pixels[at + 2].toInt() and 255)
            }
            if (last > first) {
                at += stride
                val lastWeight = rowWeight * columns.lastWeight[j]
                r += lastWeight * (pixels[at].toInt() and 255)
                g += lastWeight * (pixels[at + 1].toInt() and 255)
                b += lastWeight * (pixels[at + 2].toInt() and 255)
            }
            sums[3 * j] += r
            sums[3 * j + 1] += g
            sums[3 * j + 2] += b
        }
    }

    /**
     * Which pixels of a line each cell covers, and how much of the cell each of them is: all the same but at its
     * ends.
     */
    private class Cover {
        var first = IntArray(0)
        var last = IntArray(0)
        var firstWeight = FloatArray(0)
        var lastWeight = FloatArray(0)

        /** Of those between the first and the last. */
        var weight = 0f

        fun weight(cell: Int, pixel: Int): Float =
            if (pixel == first[cell]) firstWeight[cell] else if (pixel == last[cell]) lastWeight[cell] else weight

        /** [count] cells from number [begin], each [cell] pixels long, on a line of [size] pixels. */
        fun cover(begin: Int, count: Int, cell: Double, size: Int) {
            if (first.size < count) {
                first = IntArray(count)
                last = IntArray(count)
                firstWeight = FloatArray(count)
                lastWeight = FloatArray(count)
            }
            weight = (1 / cell).toFloat()
            for (i in 0 until count) {
                val from = (begin + i) * cell
                val to = min((begin + i + 1) * cell, size.toDouble())
                first[i] = floor(from + EDGE).toInt()
                last[i] = min(ceil(to - EDGE).toInt(), size) - 1
                firstWeight[i] = (overlap(first[i], from, to) / (to - from)).toFloat()
                lastWeight[i] = (overlap(last[i], from, to) / (to - from)).toFloat()
            }
        }

        private fun overlap(pixel: Int, from: Double, to: Double): Double =
            min(pixel + 1.0, to) - max(pixel.toDouble(), from)
    }

    /** An image width x height of which [bytes] holds the part that begins at (left, top). */
    private class Source(
        val bytes: ByteArray,
        val width: Int,
        val height: Int,
        val rowStride: Int,
        val pixelStride: Int,
        val left: Int,
        val top: Int,
    )

    private fun sample(source: Source, toSource: Affine, out: ByteArray) {
        val bytes = source.bytes
        var at = 0
        for (i in 0 until side) {
            for (j in 0 until side) {
                val x = toSource.a * j + toSource.b * i + toSource.c
                val y = toSource.d * j + toSource.e * i + toSource.f
                val x0 = floor(x)
                val y0 = floor(y)
                val fx = (x - x0).toFloat()
                val fy = (y - y0).toFloat()
                val left = (clamp(x0, source.width) - source.left) * source.pixelStride
                val right = (clamp(x0 + 1, source.width) - source.left) * source.pixelStride
                val top = (clamp(y0, source.height) - source.top) * source.rowStride
                val bottom = (clamp(y0 + 1, source.height) - source.top) * source.rowStride
                val r = bilinear(bytes, top + left, top + right, bottom + left, bottom + right, fx, fy)
                val g = bilinear(bytes, top + left + 1, top + right + 1, bottom + left + 1, bottom + right + 1, fx, fy)
                val b = bilinear(bytes, top + left + 2, top + right + 2, bottom + left + 2, bottom + right + 2, fx, fy)
                if (channels == 1) {
                    out[at++] = ((RED * r + GREEN * g + BLUE * b + HALF) shr SHIFT).toByte()
                } else {
                    out[at++] = r.toByte()
                    out[at++] = g.toByte()
                    out[at++] = b.toByte()
                }
            }
        }
    }

    private fun bilinear(bytes: ByteArray, p00: Int, p01: Int, p10: Int, p11: Int, fx: Float, fy: Float): Int {
        val v00 = (bytes[p00].toInt() and 255).toFloat()
        val v01 = (bytes[p01].toInt() and 255).toFloat()
        val v10 = (bytes[p10].toInt() and 255).toFloat()
        val v11 = (bytes[p11].toInt() and 255).toFloat()
        val above = v00 + fx * (v01 - v00)
        val below = v10 + fx * (v11 - v10)
        return (above + fy * (below - above) + 0.5f).toInt()
    }

    private fun clamp(value: Double, size: Int): Int = min(max(value, 0.0), size - 1.0).toInt()

    private fun rounded(value: Float): Byte = min(255, Math.rint(value.toDouble()).toInt()).toByte()

    private companion object {
        /** Round-off at a cell's edge is not a pixel. */
        const val EDGE = 1e-6

        // 0.299 R + 0.587 G + 0.114 B in 15 bits, as OpenCV rounds it.
        const val RED = 9798
        const val GREEN = 19235
        const val BLUE = 3735
        const val SHIFT = 15
        const val HALF = 1 shl (SHIFT - 1)
    }
}
