package edgeface.core

/** Which lines join a markup's landmarks (the same runs of points as in `edgeface/markup.py`). */
class Markup private constructor(val name: String, val size: Int, val lines: Map<String, IntArray>) {
    companion object {
        private fun span(first: Int, last: Int) = IntArray(last - first + 1) { first + it }

        private fun ring(first: Int, last: Int) = span(first, last) + first

        private val IBUG68 = mapOf(
            "jaw" to span(0, 16),
            "brow_left" to span(17, 21),
            "brow_right" to span(22, 26),
            "nose_bridge" to span(27, 30),
            "nose_base" to span(31, 35),
            "eye_left" to ring(36, 41),
            "eye_right" to ring(42, 47),
            "lips_outer" to ring(48, 59),
            "lips_inner" to ring(60, 67),
        )
        private val WFLW98 = mapOf(
            "jaw" to span(0, 32),
            "brow_left" to ring(33, 41),
            "brow_right" to ring(42, 50),
            "nose_bridge" to span(51, 54),
            "nose_base" to span(55, 59),
            "eye_left" to ring(60, 67),
            "eye_right" to ring(68, 75),
            "lips_outer" to ring(76, 87),
            "lips_inner" to ring(88, 95),
            "pupils" to intArrayOf(96, 97),
        )
        private val AFLW21 = mapOf(
            "brow_left" to span(0, 2),
            "brow_right" to span(3, 5),
            "eye_left" to span(6, 8),
            "eye_right" to span(9, 11),
            "ears" to intArrayOf(12, 16),
            "nose" to span(13, 15),
            "mouth" to span(17, 19),
            "chin" to intArrayOf(20),
        )
        private val MTFL5 = mapOf("eyes" to intArrayOf(0, 1), "nose" to intArrayOf(2), "mouth" to intArrayOf(3, 4))
        private val LFW10 = mapOf(
            "eye_left" to intArrayOf(0, 1),
            "eye_right" to intArrayOf(6, 7),
            "mouth" to intArrayOf(2, 4, 3, 5, 2),
            "nose" to intArrayOf(8, 9),
        )

        private val ALL = listOf(
            Markup("ibug68", 68, IBUG68),
            Markup("ibug68_3d", 68, IBUG68),
            Markup("wflw98", 98, WFLW98),
            Markup("aflw21", 21, AFLW21),
            Markup("mtfl5", 5, MTFL5),
            Markup("lfw10", 10, LFW10),
        ).associateBy { it.name }

        val names: Set<String> get() = ALL.keys

        fun named(name: String): Markup = ALL[name] ?: throw InputError("markup must be one of $names. Received: $name")
    }
}
