package edgeface.core

/**
 * A landmark scheme: which points there are, which of them lines join, and where the face lies among them. The
 * schemes themselves are Python's, see `Markups.kt`.
 */
class Markup internal constructor(
    val name: String,
    val size: Int,
    /** Named runs of points, in drawing order. */
    val groups: Map<String, IntArray>,
    /** The two outer eye corners. */
    internal val eyeCorners: IntArray?,
    /** Whether the tight box of its points is the face's box. */
    internal val full: Boolean,
    /** The points whose mean is eye left, eye right, nose tip, mouth corner left, mouth corner right. */
    internal val five: List<IntArray>?,
) {
    /** The groups whose points are joined; in the others a line would cross the face. */
    val lines: Map<String, IntArray> get() = groups - APART

    companion object {
        private val ALL = MARKUPS.associateBy { it.name }

        val names: Set<String> get() = ALL.keys

        fun named(name: String): Markup = ALL[name] ?: throw InputError("markup must be one of $names. Received: $name")
    }
}
