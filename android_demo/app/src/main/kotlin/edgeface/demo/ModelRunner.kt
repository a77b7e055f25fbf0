package edgeface.demo

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.Environment
import com.google.ai.edge.litert.TensorBuffer
import edgeface.core.Card
import edgeface.core.CardFile
import edgeface.core.Crop
import edgeface.core.Cropper
import edgeface.core.DType
import edgeface.core.Decoder
import edgeface.core.Face
import edgeface.core.Frame
import edgeface.core.InputCodec
import edgeface.core.Predictor

/** Which processor runs a model. */
enum class Processor { GPU, CPU }

/**
 * A model of the assets, compiled by LiteRT: for the GPU alone if it takes the whole model, else for the CPU. Asking
 * for both at once would fall back without a word, part of the model or all of it.
 *
 * It owns native memory: [close] it, on the thread that runs it.
 */
class ModelRunner private constructor(
    /** Of the asset, without its suffix. */
    val name: String,
    override val card: Card,
    val processor: Processor,
    /** Why the GPU does not run it; null where it does. */
    val gpuRefusal: String?,
    private val compiled: CompiledModel,
    /** What [close] closes, in that order. */
    private val owned: ArrayDeque<AutoCloseable>,
) : Predictor, AutoCloseable {
    private val input = InputCodec(card.input)
    private val cropper = Cropper(card.input.side, card.input.channels)
    private val pixels = ByteArray(card.input.size)
    private val decoder = Decoder(card)
    private val inputBuffer = compiled.createInputBuffer(card.input.name).also(owned::addFirst)
    private val inputs = mapOf(card.input.name to inputBuffer)
    private val outputs: Map<String, TensorBuffer> =
        card.outputs.values.associate { it.name to compiled.createOutputBuffer(it.name).also(owned::addFirst) }

    /** The image that [predict] cuts from; set it once a frame. */
    var frame = Frame()

    /** Of the last [predict]: writing the input, running, reading the outputs. */
    var modelNanos = 0L
        private set

    override fun predict(crop: Crop, face: Face) {
        cropper.cut(frame, crop, pixels)
        run(face)
        crop.toImage(face.landmarks)
    }

    /** [pixels] -> landmarks in the crop's [0, 1], pose, spread. */
    private fun run(face: Face) {
        input.encode(pixels)
        val start = System.nanoTime()
        // TensorBuffer has no uint8: writeInt8 copies bytes as they are.
        val float = card.input.dtype == DType.FLOAT32
        if (float) inputBuffer.writeFloat(input.floats) else inputBuffer.writeInt8(input.bytes)
        compiled.run(inputs, outputs)
        for ((role, spec) in card.outputs) {
            val buffer = outputs.getValue(spec.name)
            val stored = decoder.output(role)
            if (spec.dtype == DType.FLOAT32) stored.set(buffer.readFloat()) else stored.set(buffer.readInt8())
        }
        modelNanos = System.nanoTime() - start
        decoder.decode(face)
    }

    override fun close() {
        owned.forEach { it.close() }
        owned.clear()
    }

    companion object {
        private const val SUFFIX = ".tflite"
        private const val MAX_THREADS = 4

        /** The models of this app, without their suffix. */
        fun names(context: Context): List<String> =
            context.assets.list("").orEmpty().filter { it.endsWith(SUFFIX) }.map { it.removeSuffix(SUFFIX) }.sorted()

        /**
         * Throws where neither processor runs it. Takes up to seconds: the GPU's programs are compiled. With a
         * [gpuRefusal] known already, the CPU alone is asked.
         */
        fun load(context: Context, name: String, gpuRefusal: String? = null): ModelRunner {
            val card = CardFile.read(context.assets.open(name + SUFFIX).use { it.readBytes() })
            val refusal = gpuRefusal ?: try {
                return compile(context, name, card, Processor.GPU, null)
            } catch (error: Exception) {
                reason(error)
            } catch (error: LinkageError) {
                reason(error)
            }
            return compile(context, name, card, Processor.CPU, refusal)
        }

        fun reason(error: Throwable): String = error.message ?: error.javaClass.simpleName

        private fun compile(
            context: Context,
            name: String,
            card: Card,
            processor: Processor,
            refusal: String?,
        ): ModelRunner {
            val options = when (processor) {
                Processor.GPU -> CompiledModel.Options(Accelerator.GPU)
                Processor.CPU -> CompiledModel.Options(Accelerator.CPU).apply {
                    val threads = Runtime.getRuntime().availableProcessors().coerceAtMost(MAX_THREADS)
                    cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
                }
            }
            val owned = ArrayDeque<AutoCloseable>()
            try {
                val environment = Environment.create().also(owned::addFirst)
                val compiled = CompiledModel.create(context.assets, name + SUFFIX, options, environment)
                owned.addFirst(compiled)
                val runner = ModelRunner(name, card, processor, refusal, compiled, owned)
                val face = Face(card.points)
                // Some drivers fail only when they run, or give NaN or nothing but zeros.
                runner.run(face)
                val values = face.landmarks + face.poseDeg
                check(values.all { it.isFinite() } && values.any { it != 0f }) { "the $processor gives NaN or zeros" }
                return runner
            } catch (error: Throwable) {
                owned.forEach { it.close() }
                throw error
            }
        }
    }
}
