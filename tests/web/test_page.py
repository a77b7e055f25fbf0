"""The real page in headless Chromium: a rendered face is dropped on it, and its numbers are held against Predictor's.

WebAssembly on one float16 and one int8 file here; every packaged file and WebGPU in software with EDGEFACE_WEB=all.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo_web import litert
from demo_web.server import Server
from demo_web.site import Site
from edgeface import zoo
from edgeface.datasets.synthetic import face_seed, render_params, sample_params, synthetic_sample
from edgeface.errors import InputError
from edgeface.runtime import Predictor
from tests.web.browser import SOFTWARE_GPU, Browser, browsing, missing
from tests.web.serving import plain, serving

FACE = 3
EXTENDED = os.environ.get("EDGEFACE_WEB") == "all"
# The same file on the same crop, but for the resampling's last bit: a pixel in a hundred is one level off.
POINTS_PX, POSE_DEG = 0.3, 0.3
# WebGPU imitates int8 in float (see convert.runtimes.tolerances): a point by 2 % of the crop, an angle by a degree.
POINTS_GPU_SHARE, POSE_GPU_DEG = 0.02, 1.0

READY = "edgeface.state.engine && !document.getElementById('busy').textContent"
# The box to the last bit: rounding it to 1/1000 px moves a wide spread of an int8 file by half a pixel.
SEEN = """edgeface.state.face && !document.getElementById('busy').textContent
    && {...edgeface.asJson(edgeface.state.face), box_xyxy: edgeface.state.face.box}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # Where all is asked for, a test that does not run must not look like one that passed.
    end = pytest.fail if EXTENDED else pytest.skip
    if missing():
        end(missing())
    try:
        site = Site(litert.find())
    except InputError as error:
        end(str(error))
    with serving(site) as server:
        yield server


@pytest.fixture(scope="module")
def browser(server) -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return synthetic_sample(FACE, size=360, split="test").load()


def drop(browser: Browser, name: str, data: bytes) -> None:
    """A file from outside, dropped on the page."""
    browser.run(
        f"""(() => {{
          const bytes = Uint8Array.from(atob("{base64.b64encode(data).decode()}"), (c) => c.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], "{name}"));
          document.getElementById("stage").dispatchEvent(
            new DragEvent("drop", {{ dataTransfer, bubbles: true, cancelable: true }}));
        }})()"""
    )


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def visit(browser: Browser, server: Server, name: str, backend: str) -> None:
    browser.events.clear()
    browser.open(f"{server.address}?model={name}&backend={backend}")
    browser.wait(f"{READY} && location.search.includes('{name}&backend={backend}')", 120)


def differences(seen: dict, name: str, image: np.ndarray, spread: bool = True) -> tuple[float, float, float]:
    """The worst point in px, the worst angle in degrees, and the crop's side, to Predictor on the box that the page
    used."""
    face = Predictor.load(zoo.path(name)).predict(image, seen["box_xyxy"])
    points = np.linalg.norm(np.array(seen["landmarks_px"]) - face.landmarks_px, axis=1).max()
    pose = np.abs(np.array(seen["pose_deg"]) - face.pose.as_array()).max()
    if spread:
        np.testing.assert_allclose(seen["spread_px"], face.spread_px, atol=POINTS_PX)
    return float(points), float(pose), face.crop.size


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = one, other
    shared = max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
    return shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared)


def one_of_each() -> list[str]:
    """A float16 and an int8 file of the zoo; all of them where all is asked for."""
    names = [n for n in zoo.available() if "logits" not in n]
    if EXTENDED:
        return names
    return [next((n for n in names if kind in n), None) for kind in ("float16", "int8")]


@pytest.mark.parametrize("name", [n for n in one_of_each() if n])
def test_a_dropped_face_has_the_landmarks_and_pose_of_the_predictor(browser, server, image, name):
    visit(browser, server, name, "wasm")
    drop(browser, "face.png", png(image))
    seen = browser.wait(SEEN)
    points, pose, _ = differences(seen, name, image)
    assert points < POINTS_PX and pose < POSE_DEG
    # The page found the face by itself.
    assert overlap(seen["box_xyxy"], synthetic_sample(FACE, size=360, split="test").box.as_xyxy()) > 0.5
    # Nothing went anywhere else, and nothing went wrong.
    assert {address.split("/")[2] for address in browser.requests() if not address.startswith("blob:")} == {
        server.address.split("/")[2]
    }
    assert not [line for line in browser.said() if not line.startswith(("INFO", "WARNING: [npu"))]
    assert browser.run("document.getElementById('yaw').textContent").rstrip("°").lstrip("+−") != "–"
    assert browser.run("document.getElementById('backend').textContent") == "WASM"
    if not browser.run("edgeface.state.models.gpu.usable"):
        assert "WebGPU" in browser.run("document.getElementById('backend-note').textContent")


def notice(browser: Browser, word: str) -> str:
    """The text of the notice, once it has that word."""
    text = "document.getElementById('notice-text').textContent"
    return browser.wait(f"!document.getElementById('notice').hidden && {text}.includes('{word}') && {text}")


def test_what_goes_wrong_is_said_and_the_page_goes_on(browser, server, image):
    name = one_of_each()[0]
    visit(browser, server, name, "wasm")
    drop(browser, "face.png", png(image))
    before = browser.wait(SEEN)
    drop(browser, "notes.png", b"these are notes")
    assert "notes.png is not a picture" in notice(browser, "notes")
    drop(browser, "model.tflite", b"these are notes")
    assert "must be a .tflite file" in notice(browser, "tflite")
    data = bytearray(zoo.path(name).read_bytes())
    data[len(data) // 2] ^= 1
    drop(browser, "bent.tflite", bytes(data))
    assert "sha256" in notice(browser, "sha256")
    browser.run("document.querySelector('[data-act=camera]').click()")
    assert "camera" in notice(browser, "camera")
    assert browser.run("edgeface.asJson(edgeface.state.face).box_xyxy") == pytest.approx(before["box_xyxy"], abs=1e-3)


SHOWN = "({ width: edgeface.state.picture.width, height: edgeface.state.picture.height })"


def test_of_several_files_in_quick_succession_the_last_picture_stays(browser, server, image):
    """The first is still being searched when the next comes; what is no picture does not stop the one before it."""
    name = one_of_each()[-1]
    visit(browser, server, name, "wasm")
    wide = cv2.copyMakeBorder(image[:, ::-1], 0, 0, 40, 100, cv2.BORDER_REPLICATE)
    for file, data in (("a.png", png(image)), ("b.png", png(wide)), ("notes.png", b"these are notes")):
        drop(browser, file, data)
    assert "notes.png is not a picture" in notice(browser, "notes")
    seen = browser.wait(SEEN)
    assert browser.run(SHOWN) == {"width": wide.shape[1], "height": wide.shape[0]}
    points, pose, _ = differences(seen, name, wide)
    assert points < POINTS_PX and pose < POSE_DEG


def test_a_model_is_changed_while_the_box_is_moved(browser, server, image):
    """Wishes pile up before, during and after the change: the last box gets the new model's answer, and no notice."""
    first, other = one_of_each()[:2]
    visit(browser, server, first, "wasm")
    drop(browser, "face.png", png(image))
    browser.wait(SEEN)
    before = browser.run("edgeface.state.engine, (globalThis.before = edgeface.state.engine).card.name")
    browser.run(
        f"""(async () => {{
          const press = (key) => document.getElementById("box").dispatchEvent(new KeyboardEvent("keydown", {{ key }}));
          const choose = (value) => {{
            document.getElementById("model").value = value;
            document.getElementById("model").dispatchEvent(new Event("change"));
          }};
          for (let i = 0; i < 60; i++) {{
            press(i % 2 ? "ArrowUp" : "ArrowRight");
            if (i === 10 || i === 14) choose("{other}.tflite");
            if (i === 12) choose("{first}.tflite");
            if (i % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
          }}
        }})()"""
    )
    seen = browser.wait(f"edgeface.state.engine.card.name !== '{before}' && {SEEN}")
    assert browser.run("before.closed") and browser.run("document.getElementById('notice').hidden")
    points, pose, _ = differences(seen, other, image)
    assert points < POINTS_PX and pose < POSE_DEG


def test_a_large_photograph_lies_upright_and_is_copied_in_its_own_pixels(browser, server, image):
    """5120 px long and stored on its side (EXIF 6): shown at half size, JSON in pixels of the upright photograph."""
    visit(browser, server, one_of_each()[-1], "wasm")
    upright = np.full((1280, 5120, 3), 90, np.uint8)
    upright[100:1180, 1000:2080] = cv2.resize(image, (1080, 1080), interpolation=cv2.INTER_CUBIC)
    stored = cv2.cvtColor(np.ascontiguousarray(np.rot90(upright)), cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    # One entry, the orientation, in a little-endian TIFF.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    drop(browser, "photo.jpg", jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    browser.wait(f"edgeface.state.picture && {SHOWN}.width === 2560 && {SHOWN}.height === 640")
    box = browser.wait("edgeface.state.face && !document.getElementById('busy').textContent && edgeface.state.face.box")
    words = browser.run("edgeface.asJson(edgeface.state.face)")
    assert words["box_xyxy"] == pytest.approx([2 * side + 0.5 for side in box], abs=1e-3)
    x, y = np.mean(words["landmarks_px"], axis=0)
    assert 1000 < x < 2080 and 100 < y < 1180


def test_a_drop_without_a_file_is_told(browser, server):
    visit(browser, server, one_of_each()[-1], "wasm")
    browser.run(
        """(() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.setData("text/plain", "a word");
          document.getElementById("stage").dispatchEvent(
            new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        })()"""
    )
    assert "no file" in notice(browser, "file")


@pytest.fixture(scope="module")
def written(server, tmp_path_factory) -> Path:
    """The site as files, in a folder of another site; one model is not the one that the list was made from."""
    folder = tmp_path_factory.mktemp("static")
    server.site.write(folder / "faces")
    stale = folder / "faces" / "models" / f"{zoo.available()[-1]}.tflite"
    stale.write_bytes(zoo.path(zoo.available()[0]).read_bytes())
    return folder


def test_a_plain_host_of_files_is_enough_and_a_stale_model_is_refused(browser, written, image):
    name = one_of_each()[0]
    with plain(written) as address:
        browser.open(f"{address}faces/?model={name}&backend=wasm")
        browser.wait(f"location.port === '{address.split(':')[2][:-1]}' && {READY}", 120)
        drop(browser, "face.png", png(image))
        points, pose, _ = differences(browser.wait(SEEN), name, image)
        assert points < POINTS_PX and pose < POSE_DEG
        browser.run(
            f"""(() => {{
              document.getElementById("model").value = "{zoo.available()[-1]}.tflite";
              document.getElementById("model").dispatchEvent(new Event("change"));
            }})()"""
        )
        assert "sha256" in notice(browser, "sha256")
        assert browser.run("document.getElementById('model').value") == f"{name}.tflite"


def test_a_page_that_cannot_start_says_why(browser, written):
    browser.open((written / "faces" / "index.html").as_uri())
    assert "opened as a file" in notice(browser, "file")
    broken = written / "faces" / "litert" / "core" / "dist" / "index.js"
    content = broken.read_bytes()
    broken.unlink()
    with plain(written) as address:
        browser.open(f"{address}faces/")
        assert "python -m demo_web" in notice(browser, "server")
    broken.write_bytes(content)


def test_the_box_is_moved_by_keys_and_pointer(browser, server, image):
    visit(browser, server, one_of_each()[1] or one_of_each()[0], "wasm")
    drop(browser, "face.png", png(image))
    first = browser.wait(SEEN)["box_xyxy"]
    browser.run("document.getElementById('box').focus()")
    for key in ("ArrowRight", "ArrowRight", "+"):
        browser.send("Input.dispatchKeyEvent", type="keyDown", key=key)
    moved = browser.wait(f"edgeface.state.face.box[0] !== {first[0]} && {SEEN}")["box_xyxy"]
    assert (moved[0] + moved[2]) / 2 > (first[0] + first[2]) / 2 + 2
    corner = browser.run(
        "(({right, bottom}) => [right, bottom])(document.getElementById('box').getBoundingClientRect())"
    )
    for kind, shift in (("mousePressed", 0), ("mouseMoved", 25), ("mouseReleased", 25)):
        x, y = corner[0] + shift, corner[1] + shift
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
    grown = browser.wait(f"edgeface.state.face.box[2] > {moved[2]} + 5 && {SEEN}")["box_xyxy"]
    assert grown[:2] == pytest.approx(moved[:2], abs=0.01) and grown[3] > moved[3] + 5


def test_a_phone_shows_the_whole_width_and_nothing_hangs_over(browser, server, image):
    browser.open(f"{server.address}?backend=wasm", width=390, height=844)
    browser.wait(f"innerWidth === 390 && {READY}", 120)
    drop(browser, "face.png", png(image))
    browser.wait(SEEN)
    assert browser.run("document.documentElement.scrollWidth") == 390
    small = browser.run(
        """[...document.querySelectorAll("button, select, .switches label, .segments label")].map((one) =>
        one.checkVisibility() && one.getBoundingClientRect().height < 30 && one.outerHTML).filter(Boolean)"""
    )
    assert small == []


extended = pytest.mark.skipif(not EXTENDED, reason="set EDGEFACE_WEB=all to run it")


@extended
@pytest.mark.parametrize("name", [n for n in one_of_each() if n])
def test_webgpu_in_software_agrees(server, image, name):
    with browsing(*SOFTWARE_GPU) as browser:
        visit(browser, server, name, "webgpu")
        assert browser.run("edgeface.state.engine.backend") == "webgpu"
        drop(browser, "face.png", png(image))
        points, pose, side = differences(browser.wait(SEEN, 240), name, image, spread=False)
    integer = "int8" in name
    assert points < (POINTS_GPU_SHARE * side if integer else POINTS_PX)
    assert pose < (POSE_GPU_DEG if integer else POSE_DEG)


@extended
def test_the_camera_is_followed(server, tmp_path):
    """A rendered head that wanders and leans, as Chromium's pretended camera."""
    film = tmp_path / "head.y4m"
    write_film(film)
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browsing(*flags, f"--use-file-for-fake-video-capture={film}") as browser:
        visit(browser, server, one_of_each()[-1], "wasm")
        browser.run("document.querySelector('[data-act=camera]').click()")
        browser.wait("edgeface.state.face && +document.getElementById('fps').textContent > 0", 60)
        look = "(({face}) => face && [face.crop.center[0], face.pose[2]])(edgeface.state)"
        seen = [browser.run(look) for _ in range(60) if not time.sleep(0.05)]
        # A page that nobody looks at films nobody.
        live = "edgeface.state.camera?.stream.getVideoTracks()[0].readyState"
        browser.run("globalThis.track = edgeface.state.camera.stream.getVideoTracks()[0]")
        turn = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
        turn += "document.dispatchEvent(new Event('visibilitychange'))"
        browser.run(turn % "true")
        assert browser.run("track.readyState") == "ended" and browser.run("edgeface.state.camera") is None
        browser.run(turn % "false")
        browser.wait(f"{live} === 'live' && edgeface.state.face", 60)
        browser.run("document.querySelector('#camera').click()")
        assert browser.run("document.getElementById('stage').dataset.state") == "empty"
    found = np.array([one for one in seen if one])
    assert len(found) > 0.8 * len(seen)
    assert np.ptp(found[:, 0]) > 60 and np.ptp(found[:, 1]) > 15


def write_film(path: Path) -> None:
    params = sample_params(face_seed(25, split="test"))
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F25:1 Ip A1:1 C420mpeg2\n")
        for angle in np.linspace(0, 2 * np.pi, 48, endpoint=False):
            pose = (15 * np.sin(angle), 5.0, 18 * np.sin(angle))
            frame = np.full((480, 640, 3), (70, 80, 95), np.uint8)
            left = int(160 + 70 * np.sin(angle))
            frame[100:420, left : left + 320] = render_params(replace(params, pose_deg=pose), 320).image
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
