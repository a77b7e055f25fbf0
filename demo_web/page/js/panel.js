// The numbers beside the picture.

const $ = (id) => document.getElementById(id);
const ANGLES = ["yaw", "pitch", "roll"];
const FULL_DEG = 90;
const MARKUP_NAMES = { ibug68: "68 points", ibug68_3d: "68 points in 3D", wflw98: "98 points", aflw21: "21 points" };
const VARIANT_NAMES = { int8_qat: "int8", int8_ptq: "int8 (post-training)", dynamic: "int8 weights" };

const degrees = (value) => `${value < 0 ? "−" : value > 0 ? "+" : ""}${Math.abs(value).toFixed(1)}°`;
const rounded = (value) => (Math.abs(value) < 0.05 ? 0 : value);

/** pose: [yaw, pitch, roll] degrees or null; truth: the same where it is known. */
export function showPose(pose, truth = null) {
  ANGLES.forEach((angle, i) => {
    $(angle).textContent = pose ? degrees(rounded(pose[i])) : "–";
    const meter = $(angle).parentElement.querySelector(".meter");
    const share = pose ? Math.max(-1, Math.min(1, pose[i] / FULL_DEG)) * 50 : 0;
    const bar = meter.querySelector("b").style;
    [bar.left, bar.width] = [`${50 + Math.min(0, share)}%`, `${Math.abs(share)}%`];
    const tick = meter.querySelector("i").style;
    tick.display = truth ? "block" : "none";
    if (truth) tick.left = `${50 + Math.max(-50, Math.min(50, (truth[i] / FULL_DEG) * 50))}%`;
  });
  $("truth").hidden = !truth;
  if (truth) $("truth-text").textContent = truth.map((value) => degrees(rounded(value))).join(", ");
}

/** In words, for those who do not see the picture. */
export function describe(pose) {
  if (!pose) return "A face, without a pose";
  const [yaw, pitch, roll] = pose.map((value) => Math.round(value));
  return `A face with yaw ${yaw}, pitch ${pitch} and roll ${roll} degrees`;
}

export function showSpeed(medianMs, fps) {
  $("latency").textContent = medianMs === null ? "–" : medianMs < 10 ? medianMs.toFixed(1) : Math.round(medianMs);
  $("fps").textContent = fps === null ? "–" : Math.round(fps);
}

const BACKENDS = { webgpu: "WebGPU", wasm: "WASM", failed: "no model" };

/** kind: webgpu, wasm or failed. */
export function showBackend(kind, note = "") {
  $("backend-chip").dataset.kind = kind;
  $("backend-chip").textContent = BACKENDS[kind];
  $("backend").textContent = kind === "failed" ? "–" : BACKENDS[kind];
  $("backend-note").textContent = note;
}

/** A face in the words of `edgeface predict --json`, in pixels of the picture's file or the camera's own frame. */
export function asJson({ box, pose, landmarks, spreadPx, scale }) {
  const plain = (values) => values && Array.from(values, (value) => Math.round(value * 1000) / 1000);
  // Pixel centres are at integers.
  const places = (values) => values && plain(Array.from(values, (value) => (value + 0.5) / scale - 0.5));
  const flat = places(landmarks);
  const pairs = flat && Array.from({ length: flat.length / 2 }, (_, k) => flat.slice(2 * k, 2 * k + 2));
  const spread = spreadPx && plain(spreadPx.map((value) => value / scale));
  return { box_xyxy: places(box), pose_deg: plain(pose), landmarks_px: pairs, spread_px: spread };
}

export async function copyJson(face) {
  try {
    await navigator.clipboard.writeText(JSON.stringify(asJson(face)));
    $("copy-word").textContent = "Copied";
  } catch {
    $("copy-word").textContent = "Not allowed";
  }
  setTimeout(() => ($("copy-word").textContent = "Copy JSON"), 1500);
}

/** A line of models.json as people read it. */
export const modelLabel = ({ preset, variant, markup }) =>
  `${preset} · ${VARIANT_NAMES[variant] ?? variant} · ${MARKUP_NAMES[markup] ?? markup}`;

export function showModel(card, bytes) {
  const { input } = card;
  const size = bytes < 1e6 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const colors = input.channels === 1 ? "gray" : "RGB";
  const facts = [`${input.shape[1]} × ${input.shape[2]} ${colors}, ${input.dtype}`, size];
  if (card.parameters) facts.push(`${(card.parameters / 1e6).toFixed(2)} M parameters`);
  if (card.macs) facts.push(`${Math.round(card.macs / 1e6)} MMAC`);
  $("model-facts").textContent = facts.join(" · ");
}

const doing = new Map();

/** What is being done under that name; an empty text ends it. Of several, the one begun last is shown. */
export function busy(name, text) {
  doing.delete(name);
  if (text) doing.set(name, text);
  say("busy", [...doing.values()].pop() ?? "");
}

/** Only what is new: an element that is read aloud would be read again. */
function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** kind: "error" or "hint"; an empty text closes it. */
export function notice(text, kind = "error") {
  $("notice").hidden = !text;
  $("notice").dataset.kind = kind;
  $("notice-text").textContent = text;
}
