"""The contract in one picture, docs/contract.png: crop, input, outputs, and what the three angles mean.

Drawn by the code that it describes, on rendered faces; written by ``python -m convert.release.pictures``.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from edgeface.box import Box
from edgeface.crop import square_crop
from edgeface.datasets.synthetic import RenderedFace, face_seed, render_params, sample_params
from edgeface.head_pose import ANGLES
from edgeface.runtime.drawing import AXIS_COLORS, draw_axes, draw_landmarks
from edgeface.runtime.predictor import Predictor

PATH = Path(__file__).resolve().parents[2] / "docs" / "contract.png"
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 5.44, 170
"""1360 px wide: sharp where a page shows it 800 px wide."""
INK, SOFT, PAGE, CARD = "#1b1f27", "#5b6270", "#ffffff", "#f2f4f7"
BOX, CROP, SPREAD = "#e08a00", "#1769d2", "#c2266b"
SHOWN_SPREADS = (2, 8, 14, 19, 24, 36, 45, 30, 57)
"""The landmarks, of 68, whose spread is drawn: all of them would hide the face."""
TURN_DEG = 35.0
FACE = 3
"""Index of the face of the test split that is shown."""
MARGIN_IN, GAP_IN = 0.22, 0.2
MEANS = {
    "yaw": ("the image's right", "the image's left"),
    "pitch": ("down", "up"),
    "roll": ("counter-clockwise", "clockwise"),
}
"""Where the face turns for an angle below and above 0, seen on the screen."""


def figure(model: str) -> Figure:
    """model: the packaged one whose answer is drawn."""
    predictor = Predictor.load(model)
    drawn = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=PAGE)
    frame = Rectangle((0, 0), 1, 1, transform=drawn.transFigure, fill=False, edgecolor="#c9ced8", linewidth=1.5)
    drawn.add_artist(frame)
    scene = _turned(0, 0, 0, size=480, shift=(0.04, -0.02), fill=0.55)
    box = Box.around(scene.landmarks_px["ibug68"])
    crop = square_crop(box, predictor.model.card.crop.scale)
    side = (WIDTH_IN - 2 * MARGIN_IN - 2 * GAP_IN) / 3
    top = HEIGHT_IN - 0.44 - side
    titles = ("1  From the image, the crop", "2  Into the model: image", "3  Out of it: landmarks, spread")
    panels = [_panel(drawn, MARGIN_IN + i * (side + GAP_IN), top, side, title) for i, title in enumerate(titles)]
    _draw_crop(panels[0], scene.image, box, crop.size, predictor.model.card.crop.scale)
    fed = crop.extract(scene.image, predictor.model.card.input.side)
    _draw_input(panels[1], fed, predictor.model.card.input.channels)
    _draw_outputs(panels[2], crop.extract(scene.image, 480), predictor, scene.image, box)
    _draw_angles(drawn, bottom=0.2, height=top - 0.2 - 0.86)
    return drawn


def png(model: str) -> bytes:
    """Without matplotlib's version inside: the same picture has the same bytes."""
    buffer = BytesIO()
    figure(model).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _turned(yaw: float, pitch: float, roll: float, size: int, **changes) -> RenderedFace:
    params = replace(sample_params(face_seed(FACE, split="test")), pose_deg=(yaw, pitch, roll), occluder="none")
    return render_params(replace(params, **{"shift": (0.0, 0.0), "fill": 0.6} | changes), size)


def _panel(drawn: Figure, left: float, bottom: float, side: float, title: str) -> Axes:
    """A square for a picture, its lower left corner in inches, with its title above."""
    axes = drawn.add_axes((left / WIDTH_IN, bottom / HEIGHT_IN, side / WIDTH_IN, side / HEIGHT_IN))
    axes.set_axis_off()
    axes.text(0, 1.055, title, transform=axes.transAxes, fontsize=9.5, fontweight="bold", color=INK, va="bottom")
    return axes


def _caption(axes: Axes, *lines: str) -> None:
    for row, line in enumerate(lines):
        axes.text(0, -0.075 - 0.082 * row, line, transform=axes.transAxes, fontsize=7.8, color=INK, va="center")


def _label(axes: Axes, x: float, y: float, text: str, color: str, **changes) -> None:
    style = {"fontsize": 7.4, "fontweight": "bold", "color": "white", "ha": "left", "va": "center"} | changes
    plate = {"boxstyle": "round,pad=0.25", "facecolor": color, "edgecolor": "none"}
    axes.text(x, y, text, bbox=plate, **style)


def _draw_crop(axes: Axes, image: np.ndarray, box: Box, size: float, scale: float) -> None:
    axes.imshow(image, interpolation="antialiased")
    x, y = box.center
    axes.add_patch(Rectangle((x - size / 2, y - size / 2), size, size, fill=False, edgecolor=CROP, linewidth=2))
    axes.add_patch(Rectangle((box.x0, box.y0), box.width, box.height, fill=False, edgecolor=BOX, linewidth=2))
    axes.plot(x, y, "+", color=CROP, markersize=9, markeredgewidth=1.6)
    _label(axes, x, y - size / 2, f"square: side = {scale:g} × max(w, h)", CROP, ha="center")
    _label(axes, x, box.y1, "face box: w × h", BOX, ha="center")
    _caption(axes, "The box is tight: brows to chin, ear to ear.", "x right, y down, pixel centres at integers.")


def _draw_input(axes: Axes, fed: np.ndarray, channels: int) -> None:
    gray = channels == 1
    side = len(fed)
    axes.imshow(cv2.cvtColor(fed, cv2.COLOR_RGB2GRAY) if gray else fed, cmap="gray", vmin=0, vmax=255)
    _corner(axes, (-0.5, -0.5), "(0, 0)", "left", "top")
    _corner(axes, (side - 0.5, -0.5), "(1, 0)", "right", "top")
    _corner(axes, (-0.5, side - 0.5), "(0, 1)", "left", "bottom")
    _corner(axes, (side - 0.5, side - 0.5), "(1, 1)", "right", "bottom")
    _caption(axes, "(1, S, S, C), RGB or gray: float32 or uint8.", "Raw 0..255; the file normalises it itself.")


def _corner(axes: Axes, at: tuple[float, float], text: str, ha: str, va: str) -> None:
    axes.annotate(
        text, at, xytext=(4 if ha == "left" else -4, -4 if va == "top" else 4), textcoords="offset points",
        ha=ha, va=va, fontsize=7.4, fontweight="bold", color="white",
        bbox={"boxstyle": "round,pad=0.25", "facecolor": INK, "edgecolor": "none", "alpha": 0.75},
    )  # fmt: skip


def _draw_outputs(axes: Axes, crop: np.ndarray, predictor: Predictor, image: np.ndarray, box: Box) -> None:
    """Points and spreads of the real answer, in pixels of an enlarged crop."""
    face = predictor.predict(image, box)
    zoom = len(crop) / face.crop.size
    points = face.crop.to_crop(face.landmarks_px) * len(crop) - 0.5
    draw_landmarks(crop, points, predictor.markup)
    axes.imshow(crop)
    for point in SHOWN_SPREADS:
        radius = face.spread_px[point] * zoom
        for style in ({"facecolor": SPREAD, "alpha": 0.16}, {"fill": False, "edgecolor": SPREAD, "linewidth": 1.4}):
            axes.add_patch(Circle(points[point], radius, **style))
    _caption(axes, "landmarks (1, K, 2): in the crop's [0, 1].", "spread (1, K): crop widths; wide is unsure.")


def _draw_angles(drawn: Figure, bottom: float, height: float) -> None:
    """Three cards with a face turned either way, and its axes."""
    width = (WIDTH_IN - 2 * MARGIN_IN - 2 * GAP_IN) / 3
    for i, angle in enumerate(ANGLES):
        left = MARGIN_IN + i * (width + GAP_IN)
        pad = 0.09
        back = drawn.add_axes((left / WIDTH_IN, bottom / HEIGHT_IN, width / WIDTH_IN, height / HEIGHT_IN))
        back.set_axis_off()
        shape = FancyBboxPatch((0, 0), 1, 1, boxstyle="square,pad=0", facecolor=CARD, edgecolor="none")
        shape.set_transform(back.transAxes)
        back.add_patch(shape)
        small = (width - 3 * pad) / 2
        for j, sign in enumerate((-1, 1)):
            turn = {name: sign * TURN_DEG if name == angle else 0.0 for name in ANGLES}
            face = _turned(*turn.values(), size=300)
            draw_axes(face.image, face.pose_deg, tuple(face.landmarks_px["ibug68_3d"][30].tolist()), 84)
            x, y = left + pad + j * (small + pad), bottom + height - pad - small
            axes = drawn.add_axes((x / WIDTH_IN, y / HEIGHT_IN, small / WIDTH_IN, small / HEIGHT_IN))
            axes.imshow(face.image)
            axes.set_axis_off()
            axes.text(0.5, -0.12, f"{angle} {'>' if sign > 0 else '<'} 0", transform=axes.transAxes, fontsize=8.6,
                      fontweight="bold", color=INK, ha="center", va="center")  # fmt: skip
            axes.text(0.5, -0.27, MEANS[angle][j], transform=axes.transAxes, fontsize=7.4, color=SOFT, ha="center",
                      va="center")  # fmt: skip
    x = MARGIN_IN / WIDTH_IN
    y = (bottom + height + 0.13) / HEIGHT_IN
    drawn.text(x, y, "4  And pose (1, 3): yaw, pitch, roll in degrees", fontsize=9.5, fontweight="bold", color=INK)
    for text, color, place in zip(("x", "y", "z, out of the face"), AXIS_COLORS, (0.735, 0.785, 0.835), strict=True):
        drawn.text(place, y, "—", fontsize=9.5, fontweight="bold", color=np.array(color) / 255)
        drawn.text(place + 0.022, y, text, fontsize=7.8, color=INK)
