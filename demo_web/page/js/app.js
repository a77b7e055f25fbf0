// The page: what people do, in order. One run of the model at a time; the newest wish wins.

import { Models } from "./models.js";
import { busy, describe, modelLabel, notice, showBackend, showModel, showPose, showSpeed } from "./panel.js";
import { Camera, cameras, openPicture, shrunk } from "./source.js";
import { Stage } from "./stage.js";
import { findFace, looksLikeFace, refine } from "./track.js";
import { watch } from "./watch.js";

const $ = (id) => document.getElementById(id);
const HINTS = {
  empty: "",
  picture: "Drag the box or its corners, or tap where the face is.",
  camera: "The face is followed from frame to frame. The numbers are those of the unmirrored picture.",
};
const PICTURE_BUDGET_MS = 4000;

const state = {
  models: null,
  engine: null,
  file: "",
  picture: null,
  camera: null,
  facing: "user",
  face: null,
  truth: null,
};
let wish = 0; // Every new picture or camera makes the older work stop at its next step,
let loading = 0; // and every new choice of a model an older one.
let sampleIndex = -1;

const stage = new Stage({ frame: $("stage"), canvas: $("canvas"), box: $("box") }, (box, done) =>
  follow(box).then(() => done && speak()),
);

/** Runs tasks one after another: two runs at once would share the model's tensors. */
let queue = Promise.resolve();
function exclusive(task) {
  const done = queue.then(task);
  queue = done.catch(() => {});
  return done;
}

const breathe = () => new Promise((resolve) => setTimeout(resolve));
const message = (error) => error?.message ?? String(error);

function setState(name) {
  $("stage").dataset.state = name;
  $("hint").textContent = HINTS[name];
  $("keys").hidden = name !== "picture";
  $("tools").hidden = name === "empty";
  $("find").disabled = name !== "picture";
  $("camera").setAttribute("aria-pressed", String(name === "camera"));
  $("camera-word").textContent = name === "camera" ? "Stop" : "Camera";
  $("flip").hidden = name !== "camera" || state.cameraCount < 2;
  stage.mirrored = name === "camera" && $("mirror").checked && state.camera.facing !== "environment";
}

const speak = () => ($("spoken").textContent = state.face ? describe(state.face.pose) : "No face");

/** Everything that is shown of a face; null: there is none. */
function present(face, fps = null) {
  state.face = face;
  showPose(face?.pose ?? null, state.truth);
  showSpeed(state.engine?.medianMs ?? null, fps);
  $("copy").disabled = !face;
}

// Pictures

async function takePicture(blob, name, truth = null) {
  const mine = ++wish;
  notice("");
  let picture;
  try {
    picture = await openPicture(blob, name);
  } catch (error) {
    notice(message(error));
    return;
  }
  if (mine !== wish) return;
  stopCamera();
  Object.assign(state, { picture, truth });
  present(null);
  stage.show(picture, null, null);
  setState("picture");
  stage.draw();
  await find();
}

/** Looks through the picture for a face. */
async function find() {
  const mine = ++wish;
  const { picture, engine } = state;
  if (!picture || !engine) return;
  busy("Looking for the face…");
  let breath = performance.now();
  const pause = async () => {
    if (performance.now() - breath > 40) {
      await breathe();
      breath = performance.now();
    }
    return mine !== wish;
  };
  try {
    const options = { budgetMs: PICTURE_BUDGET_MS, level: engine.level, pause };
    const face = await exclusive(() => search(picture, engine, options));
    if (mine !== wish) return;
    const whole = [0.12 * picture.width, 0.12 * picture.height, 0.88 * picture.width, 0.88 * picture.height];
    const sure = face && looksLikeFace(face, engine.level);
    if (!sure) notice("No face is certain here. Put the box on one, chin to brows.", "hint");
    await follow(face?.box ?? whole);
    speak();
  } catch (error) {
    if (mine === wish) notice(message(error));
  } finally {
    if (mine === wish) busy("");
  }
}

/** On a small copy, then once more on the picture itself. */
async function search(picture, engine, options) {
  const { picture: small, scale } = shrunk(picture);
  const found = await findFace(small, (box) => engine.predict(small, box), options);
  if (!found || scale === 1) return found;
  const back = found.landmarksBox.map((value) => (value + 0.5) / scale - 0.5);
  return refine(back, (box) => engine.predict(picture, box), 2);
}

/** Predicts the face of a box that may still move: of several wishes the last is what counts. */
let following = null;
async function follow(box) {
  const { picture, engine } = state;
  if (!picture || !engine || state.camera) return;
  const busyAlready = following !== null;
  following = box;
  if (busyAlready) return;
  try {
    while (following) {
      const now = following;
      const face = await exclusive(() => engine.predict(picture, now));
      if (state.picture !== picture || state.engine !== engine || state.camera) break;
      present(face);
      $("canvas").setAttribute("aria-label", describe(face.pose));
      stage.show(picture, face, following);
      if (following === now) break;
    }
  } catch (error) {
    notice(message(error));
  } finally {
    following = null;
  }
}

// Camera

async function startCamera(facing) {
  const mine = ++wish;
  notice("");
  busy("Waiting for the camera…");
  stopCamera();
  let camera;
  try {
    camera = await Camera.open(facing, () => {
      if (state.camera !== camera) return;
      leaveCamera();
      notice("The camera went away. Start it again when it is back.");
    });
  } catch (error) {
    if (mine !== wish) return;
    if (state.picture) busy("");
    else leaveCamera();
    notice(message(error));
    return;
  }
  if (mine !== wish) {
    camera.close();
    return;
  }
  state.cameraCount = await cameras();
  Object.assign(state, { camera, facing, picture: null, truth: null });
  present(null);
  setState("camera");
  busy("Looking for a face…");
  await watch(camera, {
    running: () => state.camera === camera,
    engine: () => state.engine,
    exclusive,
    steady: () => $("steady").checked,
    failed: (error) => notice(message(error)),
    show(picture, face, fps) {
      present(face, fps);
      busy(face ? "" : state.engine ? "Looking for a face…" : "Loading the model…");
      stage.show(picture, face, null);
    },
  });
}

function stopCamera() {
  const { camera } = state;
  state.camera = null;
  camera?.close();
}

/** Back to an empty page. */
function leaveCamera() {
  wish++;
  stopCamera();
  Object.assign(state, { picture: null, truth: null });
  busy("");
  present(null);
  stage.show(null, null, null);
  setState("empty");
}

// Models

/** Loads a model beside the one that runs, and changes over when it is ready; where it fails, the old one stays. */
async function choose(file, asked) {
  const mine = ++loading;
  $("model").value = file;
  notice("");
  busy("Loading the model…");
  try {
    const { engine, bytes, note } = await exclusive(() => state.models.load(file, asked, busy));
    if (mine !== loading) {
      engine.close();
      return;
    }
    state.engine?.close();
    Object.assign(state, { engine, file });
    engine.device?.lost.then(() => state.engine === engine && choose(file, "wasm"));
    showModel(engine.card, bytes);
    showBackend(engine.backend, note);
    busy("");
    if (state.picture && stage.box) await follow(stage.box);
    else if (state.picture) await find();
  } catch (error) {
    if (mine !== loading) return;
    busy("");
    notice(message(error));
    if (state.engine) $("model").value = state.file;
    else showBackend("failed");
  }
}

async function openOwn(file) {
  try {
    const line = await state.models.add(file);
    const option = new Option(`${modelLabel(line)} · ${line.file}`, line.file);
    $("model").querySelector(`option[value="${CSS.escape(line.file)}"]`)?.remove();
    $("model").append(option);
    await choose(line.file, askedBackend());
  } catch (error) {
    notice(message(error));
  }
}

const askedBackend = () => document.querySelector("input[name=backend]:checked").value;

// What people touch

async function takeFile(file) {
  if (!file) return;
  if (file.name.endsWith(".tflite")) await openOwn(file);
  else await takePicture(file);
}

async function sample() {
  try {
    const list = await (await fetch("samples.json")).json();
    sampleIndex = (sampleIndex + 1) % list.length;
    const { file, pose_deg: truth } = list[sampleIndex];
    await takePicture(await (await fetch(file)).blob(), "rendered face", truth);
  } catch (error) {
    notice(`The rendered face did not load: ${message(error)}`);
  }
}

/** The same words as `edgeface predict --json`. */
function asJson(face) {
  const plain = (values) => values && Array.from(values, (value) => Math.round(value * 1000) / 1000);
  const flat = plain(face.landmarks);
  const pairs = flat && Array.from({ length: flat.length / 2 }, (_, k) => flat.slice(2 * k, 2 * k + 2));
  const { box, pose, spreadPx } = face;
  return { box_xyxy: plain(box), pose_deg: plain(pose), landmarks_px: pairs, spread_px: plain(spreadPx) };
}

async function copy() {
  if (!state.face) return;
  try {
    await navigator.clipboard.writeText(JSON.stringify(asJson(state.face)));
    $("copy-word").textContent = "Copied";
  } catch {
    $("copy-word").textContent = "Not allowed";
  }
  setTimeout(() => ($("copy-word").textContent = "Copy JSON"), 1500);
}

const ACTS = {
  open: () => $("picture-file").click(),
  own: () => $("model-file").click(),
  camera: () => (state.camera ? leaveCamera() : startCamera(state.facing)),
  flip: () => startCamera(state.facing === "user" ? "environment" : "user"),
  sample,
  find: () => {
    notice("");
    find();
  },
  copy,
};

function listen() {
  for (const button of document.querySelectorAll("[data-act]")) {
    button.addEventListener("click", () => ACTS[button.dataset.act]());
  }
  for (const id of ["picture-file", "model-file"]) {
    $(id).addEventListener("change", (event) => {
      takeFile(event.target.files[0]);
      event.target.value = "";
    });
  }
  $("model").addEventListener("change", (event) => choose(event.target.value, askedBackend()));
  for (const radio of document.querySelectorAll("input[name=backend]")) {
    radio.addEventListener("change", () => choose($("model").value, radio.value));
  }
  for (const what of ["landmarks", "axes", "spread", "box"]) {
    $(`show-${what}`).addEventListener("change", (event) => {
      stage.shown[what] = event.target.checked;
      stage.draw();
    });
  }
  $("mirror").addEventListener("change", () => setState($("stage").dataset.state));
  $("notice-close").addEventListener("click", () => notice(""));
  $("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "light" ? "dark" : "light");
  });
  addEventListener("paste", (event) => takeFile(event.clipboardData?.files[0]));
  // Dropped anywhere: else the browser would leave the page for the file.
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("stage").classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && $("stage").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    takeFile(event.dataTransfer?.files[0]);
  });
  addEventListener("pagehide", stopCamera);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage is refused: the choice lasts as long as the page.
  }
}

function initialTheme() {
  try {
    const kept = localStorage.getItem("theme");
    if (kept) return kept;
  } catch {
    // As above.
  }
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

async function start() {
  document.documentElement.dataset.theme = initialTheme();
  listen();
  present(null);
  setState("empty");
  const asked = new URLSearchParams(location.search);
  busy("Loading the models' list…");
  try {
    state.models = await Models.open();
  } catch (error) {
    busy("");
    showBackend("failed");
    notice(message(error));
    return;
  }
  const select = $("model");
  select.replaceChildren(...state.models.list.map((line) => new Option(modelLabel(line), line.file)));
  select.disabled = false;
  const wanted = document.querySelector(`input[name=backend][value="${CSS.escape(asked.get("backend") ?? "auto")}"]`);
  if (wanted) wanted.checked = true;
  document.querySelector("input[name=backend][value=webgpu]").disabled = !state.models.gpu.usable;
  const named = state.models.list.find((line) => line.file.replace(".tflite", "") === asked.get("model"));
  await choose(named?.file ?? state.models.first(askedBackend()), askedBackend());
}

// For the curious, and for the tests: the state, and a face in the words of `edgeface predict --json`.
globalThis.edgeface = { state, asJson };
await start();
