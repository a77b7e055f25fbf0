package edgeface.core

/** Crop pixels (0..255) as a model's input tensor holds them; the arrays are reused. */
class InputCodec(private val spec: InputSpec) {
    private val isFloat = spec.dtype == DType.FLOAT32
    val floats = FloatArray(if (isFloat) spec.size else 0)
    val bytes = ByteArray(if (isFloat) 0 else spec.size)

    /** By pixel value; where scale is 1 and zero point 0 it is the identity. */
    private val table = ByteArray(256) { value ->
        val low = if (spec.dtype == DType.INT8) -128 else 0
        (Math.rint(value / spec.scale).toInt() + spec.zeroPoint).coerceIn(low, low + 255).toByte()
    }

    fun encode(crop: ByteArray) {
        must(crop.size == spec.size, "crop", "${spec.size} bytes", crop.size)
        if (isFloat) {
            for (i in crop.indices) floats[i] = (crop[i].toInt() and 255).toFloat()
        } else {
            for (i in crop.indices) bytes[i] = table[crop[i].toInt() and 255]
        }
    }
}

/** What a model says of a face; arrays are reused, so copy what must outlive the next frame. */
class Face(points: Int) {
    /**
     * (K, 2) interleaved x and y: in the crop's [0, 1] from [Decoder], pixels of the upright image after
     * [Crop.toImage].
     */
    val landmarks = FloatArray(2 * points)

    /** (K,) in the crop's side: small is sure. */
    val spread = FloatArray(points)

    /** Yaw, pitch, roll in degrees. */
    val poseDeg = FloatArray(3)
}

/** A model's outputs as stored -> landmarks, spread and pose, with or without `int8_logits`. */
class Decoder(val card: Card) {
    val hasLandmarks = "landmarks" in card.outputs || "maps" in card.outputs
    val hasPose = listOf("pose", "pose_logits", "pose_features").any { it in card.outputs }
    val hasSpread = "spread" in card.outputs || "maps" in card.outputs
    private val stored = card.outputs.mapValues { Stored(it.value) }
    private val heatmap = card.decode?.let { IntegralHeatmap(it.mapHeight, it.mapWidth, it.sharpness) }
    private val bins = (card.decode?.pose as? PoseRule.Bins)?.let(::BinnedAngles)
    private val linear = (card.decode?.pose as? PoseRule.Features)?.let(::LinearPose)

    /** Where the output of that role is put, before [decode]. */
    fun output(role: String): Stored =
        stored[role] ?: throw InputError("role must be one of ${stored.keys}. Received: $role")

    fun decode(face: Face) {
        stored["landmarks"]?.let { for (i in face.landmarks.indices) face.landmarks[i] = it[i] }
        stored["spread"]?.let { for (i in face.spread.indices) face.spread[i] = it[i] }
        stored["pose"]?.let { for (i in 0 until 3) face.poseDeg[i] = it[i] }
        stored["maps"]?.let { heatmap!!.decode(it, face.landmarks, face.spread) }
        stored["pose_logits"]?.let { bins!!.decode(it, face.poseDeg) }
        stored["pose_features"]?.let { linear!!.decode(it, face.poseDeg) }
    }
}
