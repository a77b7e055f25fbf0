// The card inside a .tflite: a zip archive appended to the flatbuffer, with the member edgeface.json.
// The rules are those of edgeface/card.py.

const MEMBER = "edgeface.json";
const MAX_CARD_BYTES = 1 << 20;
const FORMAT = 1;
const RAW = "raw 0..255";
const DTYPES = ["float32", "float16", "int8", "uint8"];
const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;

/** What the file is, or how it is damaged: the message can be shown as it is. */
export class CardError extends Error {}

/**
 * A .tflite's bytes -> {flatbuffer: Uint8Array, card}. CardError where it is no model of edgeface or is damaged.
 * markups: those of markups.json.
 */
export async function readModel(bytes, markups) {
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(4, 8)) !== "TFL3") {
    throw new CardError(`a model must be a .tflite file. Received: ${bytes.length} bytes of something else`);
  }
  const members = directory(bytes);
  const member = members.find((one) => one.name === MEMBER);
  if (!member) throw new CardError("the model must carry an edgeface card. Received: a .tflite without one");
  const text = new TextDecoder().decode(await content(bytes, member));
  let card;
  try {
    card = JSON.parse(text);
  } catch (error) {
    throw new CardError(`the card inside the model must be JSON. Received: ${error.message}`);
  }
  checkCard(card, markups);
  const flatbuffer = bytes.slice(0, Math.min(...members.map((one) => one.offset)));
  // The runtime may crash on damaged bytes, so they are checked first.
  await checkHash(flatbuffer, card.flatbuffer_sha256);
  return { flatbuffer, card };
}

/** Throws CardError unless the card says all that this page needs, in the way it knows. */
export function checkCard(card, markups) {
  must(card !== null && typeof card === "object", "card", "a JSON object", typeof card);
  must(card.format === FORMAT, "format", `${FORMAT} (a card of another version of edgeface?)`, card.format);
  const input = card.input ?? {};
  const shape = input.shape ?? [];
  const square = shape.length === 4 && shape[0] === 1 && shape[1] === shape[2] && shape[1] > 0;
  must(square && shape[3] === input.channels, "input.shape", "(1, S, S, channels)", shape);
  must([1, 3].includes(input.channels), "input.channels", "1 or 3", input.channels);
  must(input.layout === RAW, "input.layout", RAW, input.layout);
  must(card.crop?.rule === "square", "crop.rule", "square", card.crop?.rule);
  must(card.crop.scale >= 0.5 && card.crop.scale <= 4, "crop.scale", "between 0.5 and 4", card.crop.scale);
  must(Object.hasOwn(markups, card.markup), "markup", `one of ${Object.keys(markups).join(", ")}`, card.markup);
  must(Object.keys(card.outputs ?? {}).length > 0, "outputs", "at least one", card.outputs);
  const size = markups[card.markup].size;
  const ends = { landmarks: [1, size, 2], spread: [1, size], pose: [1, 3] };
  for (const [role, output] of Object.entries(card.outputs)) {
    const expected = String(ends[role] ?? output.shape);
    must(String(output.shape) === expected, `outputs.${role}.shape`, `(${expected})`, output.shape);
  }
  for (const [what, spec] of [["input", input], ...Object.entries(card.outputs)]) {
    must(DTYPES.includes(spec.dtype), `${what}.dtype`, `one of ${DTYPES.join(", ")}`, spec.dtype);
    const quantised = spec.dtype.endsWith("int8");
    must(!quantised || (spec.scale > 0 && Number.isInteger(spec.zero_point)), what, "given scale and zero_point", spec);
  }
}

/** Members of the archive at the end: {name, offset, method, packed, size, crc}; none where there is no archive. */
function directory(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = -1;
  // The record has 22 bytes and a comment of at most 65535 behind it.
  for (let at = bytes.length - 22; at >= Math.max(0, bytes.length - 22 - 65535); at--) {
    if (view.getUint32(at, true) === END_OF_DIRECTORY) {
      end = at;
      break;
    }
  }
  if (end < 0) return [];
  const count = view.getUint16(end + 10, true);
  const start = end - view.getUint32(end + 12, true);
  // Offsets count from the archive's own start where it was made alone and then appended.
  const shift = start - view.getUint32(end + 16, true);
  const members = [];
  for (let at = start, i = 0; i < count; i++) {
    if (at < 0 || at + 46 > end || view.getUint32(at, true) !== DIRECTORY_ENTRY) throw damaged();
    const length = view.getUint16(at + 28, true);
    members.push({
      name: new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + length)),
      offset: view.getUint32(at + 42, true) + shift,
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
    });
    at += 46 + length + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return members;
}

async function content(bytes, member) {
  if (member.size > MAX_CARD_BYTES) {
    throw new CardError(`the card inside the model must be at most 1 MB. Received: ${member.size} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = member.offset;
  if (at < 0 || at + 30 > bytes.length || view.getUint32(at, true) !== LOCAL_HEADER) throw damaged();
  const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  const packed = bytes.subarray(start, start + member.packed);
  const whole = member.method === 0 ? packed : member.method === 8 ? await inflated(packed) : null;
  if (whole?.length !== member.size || crc32(whole) !== member.crc) throw damaged();
  return whole;
}

async function inflated(packed) {
  try {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    return null;
  }
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** CardError unless the bytes have that hash (none: not looked at). Without a secure context there is no SHA-256. */
export async function checkHash(bytes, sha256) {
  if (!sha256 || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex === sha256) return;
  throw new CardError(`the model must have sha256 ${sha256.slice(0, 12)}… Received: ${hex.slice(0, 12)}…`);
}

const damaged = () => new CardError("the card inside the model must be readable. Received: a damaged archive");

function must(ok, what, rule, received) {
  if (!ok) throw new CardError(`${what} must be ${rule}. Received: ${JSON.stringify(received)}`);
}
