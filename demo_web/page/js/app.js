// The page: what people do, in order. One run of the model at a time; the newest wish wins.

import { Models } from "./models.js";
import { asJson, busy, copyJson, describe, modelLabel, notice } from "./panel.js";
import { showBackend, showModel, showPose, showSpeed } from "./panel.js";
import { Camera, cameras, incoming, openPicture, shrunk } from "./source.js";
import { Stage } from "./stage.js";
import { initialTheme, setTheme } from "./theme.js";
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
  resting: false,
  face: null,
  truth: null,
};
let asked = 0; // Pictures and cameras are numbered as they are asked for:
let shown = 0; // one that is slow to open never covers a newer one.
let search = 0; // A new search, picture or camera stops the search before it,
let loading = 0; // and a new choice of a model the one before it.
let opening = 0; // Cameras that have not answered yet.
let sampleIndex = -1;

const stage = new Stage({ frame: $("stage"), canvas: $("canvas"), box: $("box") }, (box, done) =>
  follow(box).then(() => done && speak()),
);

/** Runs tasks one after another: two runs at once would share the model, and a model is closed between two. */
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
  stage.mirrored = name === "camera" && $("mirror").checked && state.camera?.facing !== "environment";
}

const speak = () => ($("spoken").textContent = state.face ? describe(state.face.pose) : "No face");

/** Everything that is shown of a face; null: there is none. */
function present(face, fps = null) {
  state.face = face;
  showPose(face?.pose ?? null, state.truth);
  showSpeed(state.engine?.medianMs ?? null, fps);
  $("copy").disabled = !face;
  const none = state.camera ? "Camera, no face found" : state.picture ? "A picture, no face marked" : "No picture yet";
  $("canvas").setAttribute("aria-label", face ? describe(face.pose) : none);
}

// Pictures

async function takePicture(blob, name, truth = null, mine = ++asked) {
  notice("");
  let picture;
  try {
    picture = await openPicture(blob, name);
  } catch (error) {
    // What was there stays.
    notice(message(error));
    return;
  }
  if (mine < shown) return;
  shown = mine;
  stopCamera();
  Object.assign(state, { picture, truth, resting: false });
  present(null);
  stage.show(picture, null, null);
  setState("picture");
  stage.draw();
  await find();
}

/** Looks through the picture for a face. */
async function find() {
  const mine = ++search;
  const { picture } = state;
  if (!picture || !state.engine) return;
  busy("search", "Looking for the face…");
  let breath = performance.now();
  const pause = async () => {
    if (performance.now() - breath > 40) {
      await breathe();
      breath = performance.now();
    }
    return mine !== search;
  };
  try {
    const { face, sure } = await exclusive(() => lookThrough(picture, state.engine, pause));
    if (mine !== search) return;
    const whole = [0.12 * picture.width, 0.12 * picture.height, 0.88 * picture.width, 0.88 * picture.height];
    if (!sure) notice("No face is certain here. Put the box on one, chin to brows.", "hint");
    await follow(face?.box ?? whole);
    if (mine === search) speak();
  } catch (error) {
    if (mine === search) notice(message(error));
  } finally {
    if (mine === search) busy("search", "");
  }
}

/** On a small copy, then once more on the picture itself. */
async function lookThrough(picture, engine, pause) {
  const { picture: small, scale } = shrunk(picture);
  const options = { budgetMs: PICTURE_BUDGET_MS, level: engine.level, pause };
  let face = await findFace(small, (box) => engine.predict(small, box), options);
  if (face && scale < 1) {
    const back = face.landmarksBox.map((value) => (value + 0.5) / scale - 0.5);
    face = await refine(back, (box) => engine.predict(picture, box), 2);
  }
  return { face, sure: face !== null && looksLikeFace(face, engine.level) };
}

let wanted = null;
let answering = null;

/** Predicts the face of a box that may still move: of several wishes the last is what counts. */
function follow(box) {
  wanted = { picture: state.picture, box };
  answering ??= answer();
  return answering;
}

async function answer() {
  while (wanted) {
    const now = wanted;
    const current = () => now.picture !== null && state.picture === now.picture;
    try {
      const face = await exclusive(() => (current() ? state.engine?.predict(now.picture, now.box) : null));
      if (face && current()) {
        present(face);
        stage.show(now.picture, face, wanted.box);
      }
    } catch (error) {
      if (current()) notice(message(error));
    }
    if (wanted === now) wanted = null;
  }
  // In the same step as the last look at `wanted`: no wish is lost in between.
  answering = null;
}

// Camera

async function startCamera(facing) {
  const mine = ++asked;
  state.resting = false;
  notice("");
  busy("camera", "Waiting for the camera…");
  opening++;
  stopCamera();
  let camera;
  try {
    camera = await Camera.open(facing, () => {
      if (state.camera !== camera) return;
      leaveCamera();
      notice("The camera went away. Start it again when it is back.");
    });
    state.cameraCount = await cameras();
  } catch (error) {
    if (!state.picture && !state.camera) leaveCamera();
    if (mine === asked) notice(message(error));
    return;
  } finally {
    if (--opening === 0) busy("camera", "");
  }
  if (mine < shown) {
    camera.close();
    return;
  }
  shown = mine;
  search++;
  stopCamera();
  Object.assign(state, { camera, facing, picture: null, truth: null });
  present(null);
  setState("camera");
  busy("search", "Looking for a face…");
  rest();
  await watch(camera, {
    running: () => state.camera === camera,
    engine: () => state.engine,
    exclusive,
    steady: () => $("steady").checked,
    failed: (error) => notice(message(error)),
    show(picture, face, fps) {
      const changed = !face !== !state.face;
      present(face, fps);
      if (changed) speak();
      busy("search", face ? "" : state.engine ? "Looking for a face…" : "Loading the model…");
      stage.show(picture, face, null);
    },
  });
}

function stopCamera() {
  const { camera } = state;
  state.camera = null;
  camera?.close();
}

/** Nobody is filmed by a page that nobody sees: the camera goes off with it, and on again with it. */
function rest(hidden = document.hidden) {
  if (hidden && state.camera) {
    stopCamera();
    state.resting = true;
  } else if (!hidden && state.resting) {
    startCamera(state.facing);
  }
}

/** Back to an empty page. */
function leaveCamera() {
  search++;
  stopCamera();
  Object.assign(state, { picture: null, truth: null, resting: false });
  busy("search", "");
  present(null);
  stage.show(null, null, null);
  setState("empty");
}

// Models

/**
 * Loads a model beside the one that runs, and changes over when it is ready; where it fails, the old one stays.
 * because: what people are told of a choice that was not theirs.
 */
async function choose(file, backend, because = "") {
  const mine = ++loading;
  $("model").value = file;
  notice("");
  const tell = (text) => busy("model", text);
  tell("Loading the model…");
  try {
    const loaded = await exclusive(() => (mine === loading ? changeOver(file, backend, tell) : null));
    if (!loaded) return;
    const { engine, bytes, note } = loaded;
    engine.device?.lost.then(() => state.engine === engine && choose(file, "wasm", "The graphics adapter was lost."));
    showModel(engine.card, bytes);
    showBackend(engine.backend, [because, note].filter(Boolean).join(" "));
    if (mine !== loading) return;
    tell("");
    if (state.picture && stage.box) await follow(stage.box);
    else if (state.picture) await find();
  } catch (error) {
    if (mine !== loading) return;
    tell("");
    notice(message(error));
    if (state.engine) $("model").value = state.file;
    else showBackend("failed");
  }
}

/** Between two runs, so that none is left with a model that is closed. */
async function changeOver(file, backend, tell) {
  const loaded = await state.models.load(file, backend, tell);
  state.engine?.close();
  Object.assign(state, { engine: loaded.engine, file });
  return loaded;
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
  if (file.name.toLowerCase().endsWith(".tflite")) await openOwn(file);
  else await takePicture(file);
}

async function sample() {
  const mine = ++asked;
  try {
    const list = await (await fetch("samples.json")).json();
    sampleIndex = (sampleIndex + 1) % list.length;
    const { file, pose_deg: truth } = list[sampleIndex];
    await takePicture(await (await fetch(file)).blob(), "rendered face", truth, mine);
  } catch (error) {
    notice(`The rendered face did not load: ${message(error)}`);
  }
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
  copy: () => state.face && copyJson(state.face),
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
  incoming($("stage"), takeFile, () => notice("That is no file: save the picture first, then drop it here."));
  document.addEventListener("visibilitychange", () => rest());
  // A page that is left may be kept, and come back as it was.
  addEventListener("pagehide", () => rest(true));
  addEventListener("pageshow", () => rest());
}

async function start() {
  document.documentElement.dataset.theme = initialTheme();
  listen();
  present(null);
  setState("empty");
  const wishes = new URLSearchParams(location.search);
  busy("models", "Loading the models' list…");
  try {
    state.models = await Models.open();
  } catch (error) {
    busy("models", "");
    showBackend("failed");
    notice(message(error));
    return;
  }
  busy("models", "");
  const select = $("model");
  select.replaceChildren(...state.models.list.map((line) => new Option(modelLabel(line), line.file)));
  select.disabled = false;
  const wanted = document.querySelector(`input[name=backend][value="${CSS.escape(wishes.get("backend") ?? "auto")}"]`);
  if (wanted) wanted.checked = true;
  document.querySelector("input[name=backend][value=webgpu]").disabled = !state.models.gpu.usable;
  const named = state.models.list.find((line) => line.file.replace(".tflite", "") === wishes.get("model"));
  await choose(named?.file ?? state.models.first(askedBackend()), askedBackend());
}

// For the curious, and for the tests: the state, and a face in the words of `edgeface predict --json`.
globalThis.edgeface = { state, asJson };
await start();
