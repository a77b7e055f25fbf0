"""The device half in figures: ``python -m convert.release.device`` writes results/device.json.

Start-up and memory of the installed wheel, frames a second on one core, steadiness, and how well a lost face is
noticed; all on rendered faces. ``--only imports speed`` measures some parts and keeps the rest of the file. Without the
detector's file (``--detector PATH``, the cache, or beside the real faces) what needs it is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convert.release import clips
from convert.release.record import record
from edgeface import zoo
from edgeface.datasets.packs import faces_root
from edgeface.errors import InputError
from edgeface.evaluation import metrics
from edgeface.files import read_json, write_json
from edgeface.runtime.download import yunet_file

FILE = Path(__file__).resolve().parents[2] / "results" / "device.json"
ROOT = Path(__file__).resolve().parents[2]
MODEL = "acdc_n"
ROUNDS = 9
THRESHOLDS = (1.1, 1.15, 1.2, 1.25, 1.3, 1.4)
EVERY = {"tracked": 15, "detected_in_every_frame": 1, "box_given": None}

IMPORTS = """
import json, time
start = time.perf_counter()
import numpy, cv2
given = time.perf_counter()
import edgeface.cli, edgeface.runtime, edgeface.runtime.detector, edgeface.runtime.live
own = time.perf_counter()
from edgeface.runtime.interpreter import interpreter_module
interpreter_module()
print(json.dumps({"numpy_and_opencv_s": given - start, "edgeface_s": own - given,
                  "interpreter_s": time.perf_counter() - own}))
"""


def imports() -> dict[str, Any]:
    """Seconds to import, each part beyond the ones before it; medians of fresh processes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [json.loads(_output([sys.executable, "-c", IMPORTS], env=environment)) for _ in range(ROUNDS)]
    return {**{key: _median([run[key] for run in runs]) for key in runs[0]}, "processes": ROUNDS}


PEAK = """
import sys
from edgeface.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


def wheel() -> dict[str, Any]:
    """`edgeface predict` of the built wheel in an empty environment: seconds from start to exit, and peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _output([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
        built = next(folder.glob("*.whl"))
        try:
            python = _environment(folder / "venv", built)
        except (OSError, subprocess.CalledProcessError) as error:
            return {"not_measured": f"the wheel could not be installed here: {type(error).__name__}"}
        image = folder / "face.png"
        _render_face(image)
        argv = ["predict", str(image), "--model", MODEL, "--json"]
        spent, peaks = [], []
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        for _ in range(ROUNDS):
            start = time.perf_counter()
            answer = json.loads(_output([str(python.with_name("edgeface")), *argv], cwd=folder, env=clean))
            spent.append(time.perf_counter() - start)
            assert len(answer["faces"]) == 1
        for _ in range(3):
            done = subprocess.run(
                [str(python), "-c", PEAK, *argv], cwd=folder, env=clean, capture_output=True, text=True
            )
            peaks.append(int(done.stderr.split()[-1]) / 1024)
        sizes = {"wheel_bytes": built.stat().st_size}
        figures = {"predict_s": _median(spent), "slowest_predict_s": max(spent), "peak_memory_mb": max(peaks)}
        return {**figures, **sizes, "command": f"edgeface predict face.png --model {MODEL} --json", "processes": ROUNDS}


def speed(detector: Path | None, frames: int = 150, best_of: int = 3) -> dict[str, Any]:
    """Frames a second of a 640x480 Motion JPEG file on one core, and where the time goes, in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "moving.avi"
        made = clips.moving(2, frames, cycles=frames / 60)
        clips.write_clip(video, made)
        box = " ".join(str(round(v, 1)) for v in made.box(0).as_xyxy())
        figures: dict[str, Any] = {}
        for mode, every in EVERY.items():
            if every is not None and detector is None:
                figures[mode] = {"not_measured": "no file of the detector"}
                continue
            argv = ["_speed", str(video), str(detector) if every else "", str(every or 0), box]
            command = [sys.executable, "-m", "convert.release.device", *argv]
            runs = [json.loads(_output(command, cwd=ROOT)) for _ in range(best_of)]
            figures[mode] = min(runs, key=lambda run: run["cpu_ms_a_frame"])
    about = {"frame": "640x480 Motion JPEG", "search_px": 320, "best_of": best_of}
    return {**figures, "model": f"{MODEL}_{zoo.DEFAULT_VARIANT}", **about}


def measure_speed(video: str, detector: str, every: int, box: list[float]) -> dict[str, Any]:
    """One run in this process, held to one core.

    ``own`` is all that is neither network: cutting, tracking, smoothing, and the loop around them. A network's time is
    that of its one call. Shares are of the same run, with and without reading and decoding the frames.
    """
    import cv2

    from edgeface.box import Box
    from edgeface.runtime import live
    from edgeface.runtime.cameras import VideoFile
    from edgeface.runtime.detector import FaceDetector
    from edgeface.runtime.predictor import Predictor
    from edgeface.runtime.tracker import FixedBox, Tracker, TrackerConfig

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    predictor = Predictor.load(MODEL)
    finds = FaceDetector(detector, longest=320) if detector else FixedBox(Box(*box))
    clocks = {"interpreter": _clocked(predictor.model._interpreter, "invoke")}
    predictor.model._interpreter = clocks["interpreter"]
    if detector:
        clocks["detector_network"] = finds._detector = _clocked(finds._detector, "detect")
    config = TrackerConfig(detect_every=every or None)
    live.run(VideoFile(video), Tracker(predictor, finds, config), limit=10)
    for clock in clocks.values():
        clock.spent_s = 0.0
    tracker = Tracker(predictor, finds, config)
    source = VideoFile(video)
    start, start_cpu = time.perf_counter(), time.process_time()
    summary = live.run(source, tracker, clock=time.process_time)
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    ms = 1000 / summary.frames
    parts = {name: ms * clock.spent_s for name, clock in clocks.items()}
    networks, read = sum(parts.values()), ms * summary.seconds_by_part["read"]
    parts = {"read_and_decode": read, **parts, "own": ms * cpu - read - networks}
    return {
        "frames": summary.frames,
        "frames_a_second": summary.frames / wall,
        "frames_a_second_of_processor_time": summary.frames / cpu,
        "cpu_ms_a_frame": ms * cpu,
        "parts_ms": parts,
        "share_outside_both_networks": _shares(networks, read, ms * cpu),
        "share_outside_the_interpreter": _shares(parts["interpreter"], read, ms * cpu),
        "looks": tracker.detections_run,
        "faces_followed": tracker.begun,
    }


def _shares(inside: float, read: float, everything: float) -> dict[str, float]:
    """What is left of a frame's time beside ``inside``."""
    return {"decoding_left_out": 1 - inside / (everything - read), "everything_included": 1 - inside / everything}


class _clocked:
    """An object of which one method's processor time is kept."""

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self.spent_s = inner, 0.0
        setattr(self, method, self._timed(getattr(inner, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _timed(self, call: Callable) -> Callable:
        def timed(*args: Any) -> Any:
            start = time.process_time()
            answer = call(*args)
            self.spent_s += time.process_time() - start
            return answer

        return timed


def steadiness() -> dict[str, Any]:
    """Jitter on still faces (only the camera's noise changes) and lag behind moving ones, plain and smoothed."""
    from edgeface.runtime.predictor import Predictor
    from edgeface.runtime.smoothing import OneEuro
    from edgeface.runtime.tracker import FixedBox, Tracker, TrackerConfig

    seeds = (1, 5, 6)
    still = [clips.still(seed, 60) for seed in seeds]
    moving = [clips.moving(seed, 60) for seed in seeds]
    figures: dict[str, Any] = {"faces": len(seeds), "noise_grey_levels": 2.0, "default": vars(OneEuro())}
    for model in [name for name in _models() if not name.startswith("ccr")]:
        predictor = Predictor.load(model)

        def follow(made: clips.Clip, smoothing: OneEuro | None, predictor: Predictor = predictor) -> np.ndarray:
            tracker = Tracker(predictor, FixedBox(made.box(0)), TrackerConfig(detect_every=None, smoothing=smoothing))
            shown = [tracker.update(frame, i / clips.FPS) for i, frame in enumerate(made.frames)]
            return np.array([faces[0].face.landmarks_px for faces in shown])

        for name, smoothing in (("plain", None), ("smoothed", OneEuro())):
            calm = [metrics.jitter(follow(c, smoothing)[None, 20:], [c.box(0).size]) for c in still]
            lags, errors = [], []
            for made in moving:
                seen = follow(made, smoothing)
                lags.append(lag_frames(seen[10:, :, 0].mean(1), made.landmarks_px[10:, :, 0].mean(1)))
                errors.append(np.linalg.norm(seen - made.landmarks_px, axis=-1).mean() / made.box(0).size)
            figures.setdefault(model, {})[name] = {
                "jitter_percent_of_box": 100 * float(np.mean(calm)),
                "lag_ms": 1000 / clips.FPS * float(np.mean(lags)),
                "moving_nme_box_percent": 100 * float(np.mean(errors)),
            }
    return figures


def lag_frames(seen: np.ndarray, truth: np.ndarray) -> float:
    """By how many frames ``seen`` (T,) is late: the shift of ``truth`` that explains their difference best."""
    speed = np.gradient(truth.astype(np.float64))
    off = seen - truth
    return float(-((off - off.mean()) @ speed) / (speed @ speed))


def doubt() -> dict[str, Any]:
    """False alarms of `LOST_RATIO` on faces, and its detections on backgrounds, for every packaged model.

    At the chosen threshold and at others. The level is the face's spread in its true box. The next frame's crops:
    shaken by 5 % of the box (the face is there), a whole box aside (it is not, or hardly), and in the same place of a
    background without a face.
    """
    from edgeface.datasets.synthetic import face_seed, render_face
    from edgeface.datasets.synthetic.backdrop import background
    from edgeface.runtime.predictor import Predictor
    from edgeface.runtime.tracker import LOST_RATIO

    rng = np.random.default_rng(0)
    faces = [render_face(face_seed(index, 23, "test"), 224) for index in range(150)]
    empty = [np.clip(background(np.random.default_rng((i, 23)), 224), 0, 255).astype(np.uint8) for i in range(150)]
    turning = [clips.turning(seed, 60) for seed in (3, 8)]
    figures: dict[str, Any] = {"threshold": LOST_RATIO, "faces": len(faces)}
    for model in _models():
        predictor = Predictor.load(model)

        def spread(image: np.ndarray, box, predictor: Predictor = predictor) -> float:
            return float(predictor.predict(image, box).spread.mean())

        level = np.array([spread(face.image, face.box) for face in faces])
        shaken = np.array([spread(f.image, _moved(f.box, *rng.normal(0, 0.05, 2))) for f in faces]) / level
        aside = np.array([spread(f.image, _moved(f.box, rng.choice([-1, 1]), 0)) for f in faces]) / level
        none = np.array([spread(e, f.box) for e, f in zip(empty, faces, strict=True)]) / level
        turned = np.concatenate([_followed_doubt(predictor, made) for made in turning])
        ratios = {"faces": shaken, "turning_heads": turned, "a_box_aside": aside, "backgrounds": none}
        figures[model] = {
            "usual_spread": float(np.median(level)),
            "doubted_percent": {
                what: {str(limit): 100 * float((seen > limit).mean()) for limit in sorted({*THRESHOLDS, LOST_RATIO})}
                for what, seen in ratios.items()
            },
        }
    return figures


def _followed_doubt(predictor: Any, made: clips.Clip) -> np.ndarray:
    """Spread over the track's level, frame by frame, where the box is the true one of the frame before."""
    from edgeface.runtime.tracker import FOLLOW

    spreads = [float(predictor.predict(f, made.box(max(0, i - 1))).spread.mean()) for i, f in enumerate(made.frames)]
    level, ratios = spreads[0], []
    for spread in spreads:
        ratios.append(spread / level)
        level += FOLLOW * (spread - level)
    return np.array(ratios)


def _moved(box: Any, right: float, down: float) -> Any:
    dx, dy = right * box.width, down * box.height
    return type(box)(box.x0 + dx, box.y0 + dy, box.x1 + dx, box.y1 + dy)


def _models() -> list[str]:
    suffix = f"_{zoo.DEFAULT_VARIANT}"
    return [name.removesuffix(suffix) for name in zoo.available() if name.endswith(suffix)]


def _median(values: list[float]) -> float:
    return float(np.median(values))


def _output(command: list[str], **settings: Any) -> str:
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **settings
    ).stdout


def _environment(folder: Path, built: Path) -> Path:
    """An empty environment with the wheel and what it requires; its Python."""
    python = folder / "bin" / "python"
    try:
        _output(["uv", "venv", "--python", sys.executable, str(folder)])
        _output(["uv", "pip", "install", "--python", str(python), str(built)])
    except FileNotFoundError:
        _output([sys.executable, "-m", "venv", str(folder)])
        _output([str(python), "-m", "pip", "install", str(built)])
    return python


def _render_face(path: Path) -> None:
    from edgeface.datasets.synthetic import face_seed, render_face
    from edgeface.images import write_image

    write_image(path, render_face(face_seed(1, 3, "test"), 256).image)


def find_detector(given: str | None) -> Path | None:
    """The detector's file: as given, from the cache (or the network), beside the real faces; None."""
    if given is not None:
        return Path(given)
    root = faces_root()
    files = sorted((root.parent / "models").glob("face_detection_yunet*.onnx")) if root else []
    if files:
        return files[0]
    try:
        return yunet_file()
    except InputError:
        return None


PARTS = ("imports", "wheel", "speed", "steadiness", "doubt")


def main(argv: list[str]) -> int:
    if argv[:1] == ["_speed"]:
        print(json.dumps(measure_speed(argv[1], argv[2], int(argv[3]), [float(v) for v in argv[4].split()])))
        return 0
    parser = argparse.ArgumentParser(prog="python -m convert.release.device", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--detector")
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--quick", action="store_true", help="the speed alone, of one short run; writes nothing")
    args = parser.parse_args(argv)
    detector = find_detector(args.detector)
    if args.quick:
        print(json.dumps(_rounded(speed(detector, frames=60, best_of=1)), indent=2))
        return 0
    figures = read_json(args.out) if args.out.exists() else {}
    work = {
        "imports": imports,
        "wheel": wheel,
        "speed": lambda: speed(detector),
        "steadiness": steadiness,
        "doubt": doubt,
    }
    for part in args.only:
        figures[part] = _rounded(work[part]())
        print(part, json.dumps(figures[part], indent=2), flush=True)
    write_json(args.out, {**figures, **record("python -m convert.release.device")})
    return 0


def _rounded(value: Any) -> Any:
    """Four significant digits: what is beyond them is noise."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
