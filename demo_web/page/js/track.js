// Where the face is: its box from its landmarks (edgeface/box.py), a search over the picture, and following it from
// frame to frame. The network itself is the detector: away from a face its attention spreads, and the landmarks it
// gives do not lie where the window was.

import { squareCrop } from "./crop.js";

/** Sides of the search's windows over the picture's shorter side: smaller ones only where no face was sure. */
const SIDES = [[0.6, 0.85, 0.42], [0.3], [0.2]];
/** Of the windows, over their side. */
const STEP = 0.35;
/** What a window that disagrees with its own landmarks costs, in units of spread (the crop's width). */
const DISAGREEMENT = 0.15;
const CANDIDATES = 4;
const REFINEMENTS = 4;
/** Below this overlap of a face's box with its landmarks' box there is no face. */
const LOST_OVERLAP = 0.45;
/**
 * Strangeness of a sure face, of a face to begin with, and of one that is lost: 0 is a frontal face, 1 a blank crop.
 * Photographs of frontal faces reach 0.1, turned ones 0.2, profiles more; most backgrounds lie above 0.2, a few at
 * 0.1, so this is a hint to people and no detector.
 */
const SURE = 0.12;
const START = 0.16;
const LOST = 0.7;

/** Spread over the face's median, above which a point is taken for hidden (edgeface/runtime/tracker.py). */
const HIDDEN = 2;
/** Of aflw21. */
const MOUTH_CENTRE = 18;

/** The tight box of flat points x, y, x, y …; null where none is finite. */
export function boxAround(points) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i += 2) {
    if (!Number.isFinite(points[i]) || !Number.isFinite(points[i + 1])) continue;
    x0 = Math.min(x0, points[i]);
    x1 = Math.max(x1, points[i]);
    y0 = Math.min(y0, points[i + 1]);
    y1 = Math.max(y1, points[i + 1]);
  }
  return x1 >= x0 ? [x0, y0, x1, y1] : null;
}

/**
 * The box that the crop rule starts from, of predicted points; null where they give none. spread: of each point, where
 * the model has it. What a turned head hides was never learned: its map is wide, and its mean says nothing.
 */
export function landmarksBox(points, markup, rule, spread = null) {
  if (markup.full) return boxAround(points);
  const limit = spread ? HIDDEN * median(spread) : Infinity;
  const known = points.map((value, i) => (spread && spread[i >> 1] > limit ? NaN : value));
  return estimatedBox(fivePoints(known, markup), rule);
}

/** Eyes, nose tip, mouth corners, [x, y] each: the means of the markup's own points that are known, else NaN. */
export function fivePoints(points, markup) {
  const five = markup.five.map((group) => {
    const known = group.filter((k) => Number.isFinite(points[2 * k]));
    const mean = (offset) => known.reduce((sum, k) => sum + points[2 * k + offset], 0) / known.length;
    return [mean(0), mean(1)];
  });
  if (markup.name === "aflw21" && isKnown(five[3]) !== isKnown(five[4])) {
    // On a turned head the hidden mouth corner lies right behind the mouth's centre.
    five[isKnown(five[3]) ? 4 : 3] = [points[2 * MOUTH_CENTRE], points[2 * MOUTH_CENTRE + 1]];
  }
  return five;
}

/** The box that the 68 points would have, from five (NaN unknown); null without an eye or a mouth corner. */
export function estimatedBox([eyeLeft, eyeRight, nose, mouthLeft, mouthRight], rule) {
  const eyes = middleOfKnown(eyeLeft, eyeRight);
  const mouth = middleOfKnown(mouthLeft, mouthRight);
  if (!isKnown(eyes) || !isKnown(mouth)) return null;
  const down = minus(mouth, eyes);
  const across = isKnown(eyeLeft) && isKnown(eyeRight) ? minus(eyeRight, eyeLeft) : [0, 0];
  const toRight = [across[0] + down[1], across[1] - down[0]];
  const length = Math.hypot(...toRight);
  const size = Math.sqrt(dot(down, down) + rule.eye_weight * dot(across, across));
  if (!(length > 0 && size > 0)) return null;
  const right = [toRight[0] / length, toRight[1] / length];
  const below = [-right[1], right[0]];
  const between = middle(eyes, mouth);
  const turn = isKnown(nose) ? dot(minus(nose, between), right) / size : 0;
  const center = [0, 1].map((i) => between[i] + size * (rule.shift * turn * right[i] + rule.drop * below[i]));
  const [halfWidth, halfHeight] = [rule.half_width, rule.half_height].map(([a, b]) => size * (a + b * turn ** 2));
  const reach = [0, 1].map((i) => Math.hypot(halfWidth * right[i], halfHeight * below[i]));
  return [center[0] - reach[0], center[1] - reach[1], center[0] + reach[0], center[1] + reach[1]];
}

/** Intersection over union of two boxes. */
export function overlap(one, other) {
  const width = Math.max(0, Math.min(one[2], other[2]) - Math.max(one[0], other[0]));
  const height = Math.max(0, Math.min(one[3], other[3]) - Math.max(one[1], other[1]));
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
  const shared = width * height;
  return shared / (area(one) + area(other) - shared);
}

/** The boxes of one side that a search looks through. */
export function searchWindows(width, height, share) {
  const side = share * Math.min(width, height);
  const places = (length) => {
    const count = Math.ceil((length - side) / (STEP * side)) + 1;
    return Array.from({ length: count }, (_, i) =>
      count < 2 ? length / 2 : side / 2 + ((length - side) * i) / (count - 1),
    );
  };
  return places(height).flatMap((y) =>
    places(width).map((x) => [x - side / 2, y - side / 2, x + side / 2, y + side / 2]),
  );
}

/** How little a face looks like one: its mean spread, and how far its landmarks' box is from the box it was given. */
export function doubt(face) {
  const own = face.landmarksBox;
  return meanOf(face.spread) + DISAGREEMENT * (own ? 1 - overlap(own, face.box) : 1);
}

/** A doubt or a mean spread between the model's own level for a face (0) and for a blank crop (1). level null: 0. */
export const strangeness = (value, level) => (level ? (value - level.face) / (level.blank - level.face) : 0);

/** Whether a found face looks like one. level: {face, blank} of the model; null where it has no spread. */
export const looksLikeFace = (face, level) => strangeness(doubt(face), level) < START;

/**
 * The likeliest face of a picture, or null. predict: async (box) -> face with box, landmarksBox, spread.
 * options: budgetMs; quick: the smallest are not looked for; level: see above; pause: awaited between runs, so that
 * the page stays alive; where it gives true the search ends with null.
 */
export async function findFace(picture, predict, { budgetMs, quick = false, level = null, pause = async () => false }) {
  const started = performance.now();
  const late = () => performance.now() - started > budgetMs;
  let best = null;
  for (const sides of quick ? SIDES.slice(0, -1) : SIDES) {
    const found = [];
    for (const box of sides.flatMap((share) => searchWindows(picture.width, picture.height, share))) {
      const face = await predict(box);
      if (face.landmarksBox) found.push({ doubt: doubt(face), box: face.landmarksBox });
      if (await pause()) return null;
      if (late() && (best || found.length > 8)) break;
    }
    found.sort((one, other) => one.doubt - other.doubt);
    for (const { box } of found.slice(0, late() ? 1 : CANDIDATES)) {
      const face = await refine(box, predict, late() ? 2 : REFINEMENTS);
      if (face && (best === null || doubt(face) < doubt(best))) best = face;
      if (await pause()) return null;
    }
    if (late() || (best && strangeness(doubt(best), level) < SURE)) break;
  }
  return best;
}

/** The face where box and landmarks have come to agree; null where they run away. */
export async function refine(box, predict, times) {
  let face = null;
  for (let i = 0; i < times; i++) {
    face = await predict(face ? face.landmarksBox : box);
    if (!face.landmarksBox) return null;
  }
  return face;
}

/** Follows one face through a camera's frames. */
export class Tracker {
  /** level: as in `looksLikeFace`. */
  constructor(level) {
    this.level = level;
    this.place = null;
  }

  /** Takes a frame's face; `place` is then {box, angleDeg} of the next frame's crop, or null: it is lost. */
  update(face, picture) {
    const dim = strangeness(meanOf(face.spread), this.level) > LOST;
    this.place = dim || !holds(face, picture) ? null : uprightPlace(face);
    return this.place !== null;
  }
}

/** The box in the frame that is turned with the head, so that a leaning head stands upright in the crop. */
export function uprightPlace(face) {
  // Near profile roll and pitch are one angle: only what the picture shows, where the face's own down points, counts.
  const angleDeg = face.pose && Math.abs(face.pose[0]) < 60 ? Math.max(-60, Math.min(60, face.pose[2])) : 0;
  const [x0, y0, x1, y1] = face.landmarksBox;
  const center = [(x0 + x1) / 2, (y0 + y1) / 2];
  if (Math.abs(angleDeg) < 8 || !face.markup.full) return { box: face.landmarksBox, angleDeg: 0 };
  const turned = boxAround(turnAbout(face.landmarks, center, -angleDeg));
  const [cx, cy] = turnAbout([(turned[0] + turned[2]) / 2, (turned[1] + turned[3]) / 2], center, angleDeg);
  const half = Math.max(turned[2] - turned[0], turned[3] - turned[1]) / 2;
  return { box: [cx - half, cy - half, cx + half, cy + half], angleDeg };
}

function holds(face, picture) {
  const own = face.landmarksBox;
  if (!own) return false;
  const half = face.crop.size / face.cropScale / 2;
  const [x, y] = face.crop.center;
  const inside = x > 0 && y > 0 && x < picture.width && y < picture.height;
  return inside && half > 8 && overlap(squared(own), [x - half, y - half, x + half, y + half]) > LOST_OVERLAP;
}

/** The square of the crop rule, without its margin. */
function squared(box) {
  const { center, size } = squareCrop(box, 1);
  return [center[0] - size / 2, center[1] - size / 2, center[0] + size / 2, center[1] + size / 2];
}

/** Flat points turned clockwise on the screen about a point. */
function turnAbout(points, [cx, cy], angleDeg) {
  const [cos, sin] = [Math.cos((angleDeg * Math.PI) / 180), Math.sin((angleDeg * Math.PI) / 180)];
  const out = new Float64Array(points.length);
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [points[i] - cx, points[i + 1] - cy];
    out[i] = cx + cos * x - sin * y;
    out[i + 1] = cy + sin * x + cos * y;
  }
  return out;
}

/** A file without spread is judged by its boxes alone. */
export const meanOf = (values) => (values ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);
export function median(values) {
  const sorted = Array.from(values).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
const isKnown = ([x, y]) => Number.isFinite(x) && Number.isFinite(y);
const middleOfKnown = (a, b) => (isKnown(a) ? (isKnown(b) ? middle(a, b) : a) : b);
const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
