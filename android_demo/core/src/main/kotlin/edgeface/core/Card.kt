package edgeface.core

/**
 * The one input: a crop (1, side, side, channels) of raw values 0..255; integer files store value / scale +
 * zeroPoint.
 */
data class InputSpec(
    val name: String,
    val side: Int,
    val channels: Int,
    val dtype: DType,
    val scale: Double,
    val zeroPoint: Int,
) {
    val size: Int get() = side * side * channels
}

/** One output: real value = (stored - zeroPoint) * scale where it is quantised. */
data class OutputSpec(
    val role: String,
    val name: String,
    val shape: List<Int>,
    val dtype: DType,
    val scale: Float,
    val zeroPoint: Int,
) {
    val size: Int get() = shape.fold(1, Int::times)
}

enum class DType { FLOAT32, INT8, UINT8 }

/** How the host turns the outputs of an `int8_logits` file into angles. */
sealed interface PoseRule {
    /** The mean of the bin centres, weighted by the softmax of (3, count) logits. */
    data class Bins(val count: Int, val lowDeg: Double, val highDeg: Double) : PoseRule

    /** One dense layer on the mean of a (h, w, channels) feature map; kernel is (channels, 3), row by row. */
    class Features(val kernel: FloatArray, val bias: FloatArray) : PoseRule {
        val channels: Int get() = kernel.size / 3
    }
}

/** Maps (mapHeight, mapWidth, K) times sharpness are the logits of the soft-argmax. */
data class DecodeRule(val mapHeight: Int, val mapWidth: Int, val sharpness: Double, val pose: PoseRule?)

/**
 * What a caller must know of a model: the JSON inside every edgeface `.tflite` (the Python side is
 * `edgeface/card.py`).
 */
data class Card(
    val name: String,
    val variant: String,
    val markup: String,
    val input: InputSpec,
    /** The crop's side is this times the longer side of the tight box of the 68 points. */
    val cropScale: Double,
    /** Keyed by role: landmarks, pose, spread; in `int8_logits` files maps, and pose_logits or pose_features. */
    val outputs: Map<String, OutputSpec>,
    val decode: DecodeRule?,
    val flatbufferSha256: String?,
) {
    /** Landmarks of the markup. */
    val points: Int
        get() = outputs["landmarks"]?.let { it.shape[1] } ?: outputs["maps"]?.shape?.getOrNull(3) ?: 0

    companion object {
        private const val FORMAT = 1
        private const val MAX_SIZE = 1 shl 24
        private const val RAW = "raw 0..255"

        fun parse(json: String): Card {
            val card = Fields(Json.parse(json), "card")
            val format = card.int("format")
            must(format == FORMAT, "card.format", "$FORMAT (a card of another version?)", format)
            val crop = card.at("crop")
            must(crop.text("rule") == "square", "card.crop.rule", "'square'", crop.text("rule"))
            val outputs = card.at("outputs").entries().associate { (role, value) -> role to output(role, value) }
            must(outputs.isNotEmpty(), "card.outputs", "at least one", outputs.keys)
            val parsed = Card(
                name = card.text("name"),
                variant = card.text("variant"),
                markup = card.text("markup"),
                input = input(card.at("input")),
                cropScale = crop.number("scale"),
                outputs = outputs,
                decode = card.atOrNull("decode")?.let(::decode),
                flatbufferSha256 = card.textOrNull("flatbuffer_sha256"),
            )
            check(parsed)
            return parsed
        }

        private fun input(spec: Fields): InputSpec {
            val shape = spec.ints("shape")
            val channels = spec.int("channels")
            val square = shape.size == 4 && shape[0] == 1 && shape[1] == shape[2] && shape[1] in 1..4096
            must(square && shape[3] == channels, "card.input.shape", "(1, S, S, channels)", shape)
            must(channels == 1 || channels == 3, "card.input.channels", "1 or 3", channels)
            must(spec.text("layout") == RAW, "card.input.layout", "'$RAW'", spec.text("layout"))
            val dtype = dtype(spec)
            val (scale, zero) = quantisation(spec, dtype)
            return InputSpec(spec.text("name"), shape[1], channels, dtype, scale, zero)
        }

        private fun output(role: String, spec: Fields): OutputSpec {
            val shape = spec.ints("shape")
            val size = shape.fold(1L) { product, side -> if (side in 1..MAX_SIZE) product * side else Long.MAX_VALUE }
            must(shape.size > 1 && shape.size <= 4 && size <= MAX_SIZE, "card.outputs.$role.shape", "(1, ...)", shape)
            val dtype = dtype(spec)
            val (scale, zero) = quantisation(spec, dtype)
            return OutputSpec(role, spec.text("name"), shape, dtype, scale.toFloat(), zero)
        }

        private fun decode(rule: Fields): DecodeRule {
            val pose = when (val kind = rule.text("pose")) {
                "none", "degrees" -> null
                "bins" -> PoseRule.Bins(rule.int("bins"), rule.number("bins_low_deg"), rule.number("bins_high_deg"))
                "features" -> features(rule)
                else -> throw InputError("card.decode.pose must be degrees, bins, features or none. Received: $kind")
            }
            return DecodeRule(rule.int("map_height"), rule.int("map_width"), rule.number("sharpness"), pose)
        }

        private fun features(rule: Fields): PoseRule.Features {
            val rows = rule.list("pose_kernel").map { Fields.numbers(it, "card.decode.pose_kernel") }
            val bias = Fields.numbers(rule.list("pose_bias"), "card.decode.pose_bias")
            val fits = (rows + listOf(bias)).all { it.size == 3 }
            must(fits, "card.decode.pose_kernel and pose_bias", "rows of 3", bias.size)
            val kernel = FloatArray(3 * rows.size) { rows[it / 3][it % 3].toFloat() }
            return PoseRule.Features(kernel, FloatArray(3) { bias[it].toFloat() })
        }

        private fun dtype(spec: Fields): DType =
            DType.entries.find { it.name.lowercase() == spec.text("dtype") }
                ?: throw InputError("card dtype must be float32, int8 or uint8. Received: ${spec.text("dtype")}")

        private fun quantisation(spec: Fields, dtype: DType): Pair<Double, Int> {
            if (dtype == DType.FLOAT32) return 1.0 to 0
            val scale = spec.number("scale")
            must(scale > 0, "card scale of ${spec.text("name")}", "> 0", scale)
            return scale to spec.int("zero_point")
        }

        /** The rules between fields: what [Decoder] relies on. */
        private fun check(card: Card) {
            val k = card.points
            val size = Markup.named(card.markup).size
            val pointed = "landmarks" in card.outputs || "maps" in card.outputs
            must(k == size || !pointed, "card points", "the $size of ${card.markup}", k)
            val ends = mapOf("landmarks" to listOf(1, k, 2), "spread" to listOf(1, k), "pose" to listOf(1, 3))
            for ((role, shape) in ends) {
                card.outputs[role]?.let { must(it.shape == shape, "card $role", "$shape", it.shape) }
            }
            val rule = card.decode
            card.outputs["maps"]?.let {
                must(rule != null, "card.decode", "given where an output is maps", null)
                val shape = listOf(1, rule!!.mapHeight, rule.mapWidth, k)
                must(it.shape == shape, "card maps", "$shape", it.shape)
                must(rule.sharpness > 0, "card.decode.sharpness", "> 0", rule.sharpness)
            }
            when (val pose = rule?.pose) {
                is PoseRule.Bins -> {
                    val got = card.outputs["pose_logits"]?.shape
                    must(got == listOf(1, 3, pose.count), "card pose_logits", "(1, 3, ${pose.count})", got)
                }
                is PoseRule.Features -> {
                    val got = card.outputs["pose_features"]?.shape
                    val fits = got?.size == 4 && got[3] == pose.channels
                    must(fits, "card pose_features", "(1, h, w, ${pose.channels})", got)
                }
                null -> Unit
            }
        }
    }
}

/** A JSON object whose fields are asked for by name and type. */
internal class Fields(value: Any?, private val where: String) {
    private val map: Map<*, *> =
        value as? Map<*, *> ?: throw InputError("$where must be a JSON object. Received: $value")

    fun entries(): List<Pair<String, Fields>> = map.map { (key, value) -> "$key" to Fields(value, "$where.$key") }

    fun at(key: String) = Fields(map[key], "$where.$key")

    fun atOrNull(key: String) = map[key]?.let { Fields(it, "$where.$key") }

    fun text(key: String): String = map[key] as? String ?: wrong(key, "a string")

    fun textOrNull(key: String): String? = if (map[key] == null) null else text(key)

    fun number(key: String): Double = map[key] as? Double ?: wrong(key, "a number")

    fun int(key: String): Int {
        val number = number(key)
        if (number != Math.rint(number) || Math.abs(number) > Int.MAX_VALUE) wrong(key, "a whole number")
        return number.toInt()
    }

    fun list(key: String): List<*> = map[key] as? List<*> ?: wrong(key, "a list")

    fun ints(key: String): List<Int> = numbers(list(key), "$where.$key").map { it.toInt() }

    private fun wrong(key: String, rule: String): Nothing =
        throw InputError("$where.$key must be $rule. Received: ${map[key]}")

    companion object {
        fun numbers(value: Any?, where: String): List<Double> = (value as? List<*>)?.map {
            it as? Double ?: throw InputError("$where must be numbers. Received: $it")
        } ?: throw InputError("$where must be a list. Received: $value")
    }
}
