// Which model runs where: the picker, the backend that was asked for, and what to fall back to.

import { CardError, checkHash, readModel } from "./card.js";
import { Engine, EngineError, probeWebGpu } from "./engine.js";
import { openPicture } from "./source.js";

/** What suits each backend: the GPU computes in float and imitates int8, the CPU is fastest in int8. */
const SUITABLE = { webgpu: /^float/, wasm: /^int8_(?!logits)/ };

const USUAL = "ibug68";

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

async function fetched(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new CardError(`${path} must be there. Received: no answer; does the server still run?`);
  }
  if (!response.ok) throw new CardError(`${path} must be there. Received: HTTP ${response.status}`);
  return response;
}

export class Models {
  static async open() {
    const [list, facts, reference, gpu] = await Promise.all([
      fetched("models.json").then((response) => response.json()),
      fetched("markups.json").then((response) => response.json()),
      fetched("reference.json").then((response) => response.json()),
      probeWebGpu(),
    ]);
    const picture = await openPicture(await (await fetched(reference.file)).blob());
    return new Models(list, facts, gpu, { picture, boxes: reference.boxes });
  }

  constructor(list, { markups, box_rule }, gpu, reference) {
    Object.assign(this, { list, markups, rule: box_rule, gpu, reference, own: new Map() });
  }

  /** The backends to try, in order. asked: auto, webgpu or wasm. */
  backends(asked) {
    if (asked === "wasm" || !this.gpu.usable) return ["wasm"];
    if (asked === "webgpu") return ["webgpu", "wasm"];
    return this.gpu.software ? ["wasm"] : ["webgpu", "wasm"];
  }

  /** The file to begin with: one that suits the backend, with the points that most people know. */
  first(asked) {
    const suitable = this.list.filter((line) => SUITABLE[this.backends(asked)[0]].test(line.variant));
    return (suitable.find((line) => line.markup === USUAL) ?? suitable[0] ?? this.list[0]).file;
  }

  /** A .tflite that somebody opened: kept for this visit. Its line for the picker. */
  async add(file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const { card } = await readModel(bytes, this.markups);
    this.own.set(file.name, bytes);
    const { name, preset, variant, markup } = card;
    return { file: file.name, bytes: bytes.length, name, preset, variant, markup };
  }

  /** The bytes of a listed file, if they are those that the list was made from. */
  async download(file) {
    const bytes = new Uint8Array(await (await fetched(`models/${file}`)).arrayBuffer());
    await checkHash(bytes, this.list.find((line) => line.file === file)?.sha256);
    return bytes;
  }

  /** {engine, bytes, note}: a compiled model on the first backend that takes it; note says why it is not another. */
  async load(file, asked, tell) {
    const bytes = this.own.get(file) ?? (await this.download(file));
    const model = await readModel(bytes, this.markups);
    const notes = [];
    if (!this.gpu.usable || (asked === "auto" && this.gpu.software)) notes.push(sentence(this.gpu.why));
    const order = this.backends(asked);
    for (const [i, backend] of order.entries()) {
      tell(backend === "webgpu" ? "Compiling for WebGPU…" : "Loading the runtime…");
      try {
        const engine = await Engine.create(model, backend, this.markups, this.rule, this.reference);
        if (backend === "webgpu") notes.push(`${this.gpu.name}${this.gpu.software ? ", in software" : ""}.`);
        return { engine, bytes: bytes.length, note: notes.join(" ") };
      } catch (error) {
        if (!(error instanceof EngineError) || i + 1 === order.length) throw error;
        notes.push(error.message);
      }
    }
    throw new EngineError("a backend must take the model. Received: none");
  }
}
