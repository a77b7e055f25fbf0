package edgeface.core

/** What Python fitted or measured: `python -m convert.android constants` writes this file. */
internal object Tuned {
    // edgeface.runtime.tracker
    const val LOST_RATIO = 1.25
    const val SAME_FACE = 0.3
    const val MOVED = 0.85
    const val HIDDEN = 2.0
    const val FOLLOW = 0.05

    // edgeface.runtime.smoothing
    const val MIN_CUTOFF_HZ = 1.0
    const val BETA = 40.0
    const val SPEED_CUTOFF_HZ = 1.0

    // edgeface.box.BoxRule
    const val EYE_WEIGHT = 2.093
    const val SHIFT = -1.119
    const val DROP = 0.08
    const val HALF_WIDTH = 0.63
    const val HALF_WIDTH_TURN = 1.433
    const val HALF_HEIGHT = 0.61
    const val HALF_HEIGHT_TURN = 1.576
}
