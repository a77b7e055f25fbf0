// LiteRT.js: which backend this browser has, and a model compiled for it. The files come from this server alone.

import { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { extract, quantize, squareCrop, toImage } from "./crop.js";
import { decode } from "./decode.js";
import { turnPose } from "./pose.js";
import { doubt, landmarksBox, meanOf, median } from "./track.js";

const WASM = new URL("../litert/core/wasm/", import.meta.url).href;
const KEPT_TIMES = 240;

/** The model is sound, but this runtime or this backend does not take it. */
export class EngineError extends Error {}

let runtime = null;

/** Loads LiteRT.js once; a failed attempt may be repeated. */
export function startRuntime() {
  runtime ??= loadLiteRt(WASM).catch((error) => {
    runtime = null;
    throw new EngineError(`LiteRT.js must load. Received: ${error?.message ?? error}`);
  });
  return runtime;
}

/** {usable, software, name, why} of WebGPU here; `why` is for people. */
export async function probeWebGpu() {
  if (!globalThis.isSecureContext) return { usable: false, why: "WebGPU needs https or localhost" };
  if (!navigator.gpu) return { usable: false, why: "this browser has no WebGPU" };
  let adapter = null;
  try {
    adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  } catch {
    // As good as none.
  }
  if (!adapter) return { usable: false, why: "WebGPU found no graphics adapter" };
  const info = adapter.info ?? {};
  const name = [info.vendor, info.architecture].filter(Boolean).join(" ") || "graphics adapter";
  const software = Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter) || /swiftshader|llvmpipe/i.test(name);
  return { usable: true, software, name, why: software ? "WebGPU is emulated in software here" : "" };
}

/** A model on one backend. `predict` is to be awaited before the next call. */
export class Engine {
  /**
   * backend: "webgpu" or "wasm"; reference: {picture, boxes} of faces to learn the level from. EngineError where the
   * model does not run there as a whole.
   */
  static async create(model, backend, markups, rule, reference) {
    const integer = [model.card.input, ...Object.values(model.card.outputs)].some((spec) => spec.dtype === "int8");
    if (integer) {
      throw new EngineError("LiteRT.js has no int8 tensors: choose a float or an int8_qat file of this model.");
    }
    await startRuntime();
    let compiled;
    try {
      compiled = await loadAndCompile(model.flatbuffer, { accelerator: backend });
    } catch (error) {
      throw new EngineError(`the model must compile for ${backend}. Received: ${error?.message ?? error}`);
    }
    const engine = new Engine(model.card, compiled, backend, markups[model.card.markup], rule);
    try {
      await engine.check();
      await engine.learn(reference);
    } catch (error) {
      engine.close();
      if (error instanceof EngineError) throw error;
      throw new EngineError(`the model must run on ${backend}. Received: ${error?.message ?? error}`);
    }
    return engine;
  }

  constructor(card, compiled, backend, markup, rule) {
    Object.assign(this, { card, compiled, backend, markup, rule, times: [], closed: false, blank: 0, level: null });
    this.broken = "";
    if (backend === "webgpu") {
      // The engine does not look at a shader that the browser refuses: its outputs are then zero.
      this.onBroken = (event) => (this.broken = event.error.message.split("\n")[0]);
      this.device = getWebGpuDevice();
      this.device?.addEventListener("uncapturederror", this.onBroken);
    }
  }

  /** What this model's spread is on a face and on none. */
  async learn({ picture, boxes }) {
    const doubts = [];
    for (const box of boxes) doubts.push(doubt(await this.predict(picture, box)));
    const face = Math.min(...doubts);
    if (face > 0 && this.blank > face) this.level = { face, blank: this.blank };
    this.times.length = 0;
  }

  /** Two runs of a blank crop: the first compiles what is left to compile. */
  async check() {
    if (this.backend === "webgpu" && !this.compiled.isFullyAccelerated) {
      throw new EngineError("WebGPU must take the whole model. Received: some of it on the CPU");
    }
    const pixels = new Uint8Array(this.card.input.shape.reduce((a, b) => a * b)).fill(127);
    for (let i = 0; i < 2; i++) {
      const answer = await this.run(pixels);
      this.blank = meanOf(answer.spread);
      const values = Object.values(answer).flatMap((array) => Array.from(array));
      const sound = values.every(Number.isFinite) && values.some((value) => value !== 0);
      if (this.broken || !sound) {
        throw new EngineError(`${this.backend} must give sound numbers. Received: ${this.broken || "zero or NaN"}`);
      }
    }
  }

  /** uint8 crop -> {landmarks, pose, spread}. */
  async run(pixels) {
    const { input, outputs } = this.card;
    const values = quantize(pixels, input);
    const started = performance.now();
    let tensor = new Tensor(values, input.shape);
    const stored = {};
    let answers = {};
    try {
      if (this.backend === "webgpu") tensor = await tensor.moveTo("webgpu");
      answers = await this.compiled.run({ [input.name]: tensor });
      for (const [role, spec] of Object.entries(outputs)) {
        if (!answers[spec.name]) throw new EngineError(`the model must have the output ${spec.name} of its card.`);
        stored[role] = (await answers[spec.name].data()).slice();
      }
    } finally {
      // Tensors lie in the runtime's own memory, which nobody else clears.
      for (const one of [tensor, ...Object.values(answers)]) if (!one.deleted) one.delete();
    }
    this.times.push(performance.now() - started);
    if (this.times.length > KEPT_TIMES) this.times.shift();
    return decode(stored, this.card);
  }

  /** The face of a box [x0, y0, x1, y1] in a picture, with all that drawing and tracking need. */
  async predict(picture, box, angleDeg = 0) {
    const { input, crop: rule } = this.card;
    const crop = squareCrop(box, rule.scale, angleDeg);
    const answer = await this.run(extract(picture, crop, input.shape[1], input.channels));
    const landmarks = answer.landmarks ? toImage(crop, answer.landmarks) : null;
    return {
      box: Array.from(box),
      crop,
      cropScale: rule.scale,
      landmarks,
      pose: answer.pose ? turnPose(answer.pose, -angleDeg) : null,
      spread: answer.spread ?? null,
      spreadPx: answer.spread ? answer.spread.map((value) => value * crop.size) : null,
      landmarksBox: landmarks ? landmarksBox(landmarks, this.markup, this.rule, answer.spread) : null,
      scale: picture.scale ?? 1,
      markup: this.markup,
    };
  }

  /** Median time of the last runs in ms, transfers included; null before the first. */
  get medianMs() {
    if (this.times.length === 0) return null;
    return median(this.times);
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.device?.removeEventListener("uncapturederror", this.onBroken);
    this.compiled.delete();
  }
}
