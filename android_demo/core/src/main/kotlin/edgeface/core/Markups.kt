package edgeface.core

/** Groups of one point a side (`edgeface.runtime.drawing`): a line between them would cross the face. */
internal val APART = setOf("ears", "eyes", "pupils")

/** `edgeface.markup` and `edgeface.box`: `python -m convert.android constants` writes this file. */
internal val MARKUPS = listOf(
    Markup(
        name = "ibug68",
        size = 68,
        groups = mapOf(
            "jaw" to intArrayOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
            "brow_left" to intArrayOf(17, 18, 19, 20, 21),
            "brow_right" to intArrayOf(22, 23, 24, 25, 26),
            "nose_bridge" to intArrayOf(27, 28, 29, 30),
            "nose_base" to intArrayOf(31, 32, 33, 34, 35),
            "eye_left" to intArrayOf(36, 37, 38, 39, 40, 41, 36),
            "eye_right" to intArrayOf(42, 43, 44, 45, 46, 47, 42),
            "lips_outer" to intArrayOf(48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 48),
            "lips_inner" to intArrayOf(60, 61, 62, 63, 64, 65, 66, 67, 60),
        ),
        eyeCorners = intArrayOf(36, 45),
        full = true,
        five = listOf(intArrayOf(36, 39), intArrayOf(42, 45), intArrayOf(30), intArrayOf(48), intArrayOf(54)),
    ),
    Markup(
        name = "ibug68_3d",
        size = 68,
        groups = mapOf(
            "jaw" to intArrayOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
            "brow_left" to intArrayOf(17, 18, 19, 20, 21),
            "brow_right" to intArrayOf(22, 23, 24, 25, 26),
            "nose_bridge" to intArrayOf(27, 28, 29, 30),
            "nose_base" to intArrayOf(31, 32, 33, 34, 35),
            "eye_left" to intArrayOf(36, 37, 38, 39, 40, 41, 36),
            "eye_right" to intArrayOf(42, 43, 44, 45, 46, 47, 42),
            "lips_outer" to intArrayOf(48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 48),
            "lips_inner" to intArrayOf(60, 61, 62, 63, 64, 65, 66, 67, 60),
        ),
        eyeCorners = intArrayOf(36, 45),
        full = true,
        five = listOf(intArrayOf(36, 39), intArrayOf(42, 45), intArrayOf(30), intArrayOf(48), intArrayOf(54)),
    ),
    Markup(
        name = "wflw98",
        size = 98,
        groups = mapOf(
            "jaw" to intArrayOf(
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                32,
            ),
            "brow_left" to intArrayOf(33, 34, 35, 36, 37, 38, 39, 40, 41, 33),
            "brow_right" to intArrayOf(42, 43, 44, 45, 46, 47, 48, 49, 50, 42),
            "nose_bridge" to intArrayOf(51, 52, 53, 54),
            "nose_base" to intArrayOf(55, 56, 57, 58, 59),
            "eye_left" to intArrayOf(60, 61, 62, 63, 64, 65, 66, 67, 60),
            "eye_right" to intArrayOf(68, 69, 70, 71, 72, 73, 74, 75, 68),
            "lips_outer" to intArrayOf(76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 76),
            "lips_inner" to intArrayOf(88, 89, 90, 91, 92, 93, 94, 95, 88),
            "pupils" to intArrayOf(96, 97),
        ),
        eyeCorners = intArrayOf(60, 72),
        full = true,
        five = null,
    ),
    Markup(
        name = "aflw21",
        size = 21,
        groups = mapOf(
            "brow_left" to intArrayOf(0, 1, 2),
            "brow_right" to intArrayOf(3, 4, 5),
            "eye_left" to intArrayOf(6, 7, 8),
            "eye_right" to intArrayOf(9, 10, 11),
            "ears" to intArrayOf(12, 16),
            "nose" to intArrayOf(13, 14, 15),
            "mouth" to intArrayOf(17, 18, 19),
            "chin" to intArrayOf(20),
        ),
        eyeCorners = intArrayOf(6, 11),
        full = false,
        five = listOf(intArrayOf(6, 7, 8), intArrayOf(9, 10, 11), intArrayOf(14), intArrayOf(17), intArrayOf(19)),
    ),
    Markup(
        name = "mtfl5",
        size = 5,
        groups = mapOf(
            "eyes" to intArrayOf(0, 1),
            "nose" to intArrayOf(2),
            "mouth" to intArrayOf(3, 4),
        ),
        eyeCorners = null,
        full = false,
        five = listOf(intArrayOf(0), intArrayOf(1), intArrayOf(2), intArrayOf(3), intArrayOf(4)),
    ),
    Markup(
        name = "lfw10",
        size = 10,
        groups = mapOf(
            "eye_left" to intArrayOf(0, 1),
            "eye_right" to intArrayOf(6, 7),
            "mouth" to intArrayOf(2, 4, 3, 5, 2),
            "nose" to intArrayOf(8, 9),
        ),
        eyeCorners = intArrayOf(0, 7),
        full = false,
        five = listOf(intArrayOf(0, 1), intArrayOf(6, 7), intArrayOf(8, 9), intArrayOf(2), intArrayOf(3)),
    ),
)
