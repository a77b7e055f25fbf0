// Boxes and crops, as in edgeface/geometry.py. Pixel centres are at integers: the image's corner is (-0.5, -0.5).
// A box is [x0, y0, x1, y1] px; a crop is {center: [x, y], size, angleDeg}; a picture is {data, width, height}, RGBA.

const { fround } = Math;

/** The crop rule `square`: centred on the box, side = scale * its longer side. */
export function squareCrop([x0, y0, x1, y1], scale, angleDeg = 0) {
  const side = Math.max(x1 - x0, y1 - y0);
  if (!(side > 0 && Number.isFinite(side))) throw new RangeError(`box must have a positive side. Received: ${side}`);
  return { center: [(x0 + x1) / 2, (y0 + y1) / 2], size: scale * side, angleDeg };
}

/** Image pixels -> pixels of the side x side crop: [a, b, c, d, e, f], x' = a x + b y + c, y' = d x + e y + f. */
export function cropMatrix({ center: [cx, cy], size, angleDeg }, side) {
  const angle = (angleDeg * Math.PI) / 180;
  const cos = (Math.cos(angle) * side) / size;
  const sin = (Math.sin(angle) * side) / size;
  const middle = (side - 1) / 2;
  return [cos, sin, middle - (cos * cx + sin * cy), -sin, cos, middle - (cos * cy - sin * cx)];
}

/** The affine that undoes one. */
export function inverse([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  return [e / det, -b / det, (b * f - c * e) / det, -d / det, a / det, (c * d - a * f) / det];
}

/** Crop coordinates in [0, 1], flat x, y, x, y … -> image pixels, Float32Array alike. */
export function toImage(crop, points) {
  const [a, b, c, d, e, f] = inverse(cropMatrix(crop, 1));
  const out = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 2) {
    const x = points[i] - 0.5;
    const y = points[i + 1] - 0.5;
    out[i] = a * x + b * y + c;
    out[i + 1] = d * x + e * y + f;
  }
  return out;
}

/** The crop's pixels, uint8, side x side x channels: RGB, or OpenCV's gray. Beyond the edge the border is repeated. */
export function extract(picture, crop, side, channels) {
  let matrix = cropMatrix(crop, side);
  const scale = side / crop.size;
  let source = picture;
  let left = 0;
  let top = 0;
  if (scale < 0.5) {
    // Bilinear sampling aliases below half size: average whole blocks first, but only those that the crop touches.
    const factor = Math.floor(1 / scale);
    const width = Math.max(1, roundEven(picture.width / factor));
    const height = Math.max(1, roundEven(picture.height / factor));
    const fx = picture.width / width;
    const fy = picture.height / height;
    const [a, b, c, d, e, f] = matrix;
    const [u, v] = [0.5 * fx - 0.5, 0.5 * fy - 0.5];
    matrix = [a * fx, b * fy, a * u + b * v + c, d * fx, e * fy, d * u + e * v + f];
    ({ picture: source, left, top } = averaged(picture, width, height, touched(matrix, side, width, height)));
  }
  return bilinear(source, left, top, inverse(matrix), side, channels);
}

/** A uint8 crop as the input tensor holds it: Float32Array, or Uint8Array where the card says uint8. */
export function quantize(pixels, spec) {
  if (spec.scale == null) return Float32Array.from(pixels);
  const [low, high] = spec.dtype === "int8" ? [-128, 127] : [0, 255];
  const out = spec.dtype === "int8" ? new Int8Array(pixels.length) : new Uint8Array(pixels.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = Math.min(high, Math.max(low, roundEven(pixels[i] / spec.scale) + spec.zero_point));
  }
  return out;
}

/** As numpy and Python round: halves go to the even neighbour. */
export function roundEven(value) {
  const low = Math.floor(value);
  return value - low !== 0.5 ? Math.round(value) : low + (low % 2 === 0 ? 0 : 1);
}

/** [x0, y0, x1, y1) of the width x height picture that the crop's samples come from. */
function touched(matrix, side, width, height) {
  const back = inverse(matrix);
  const corners = [[0, 0], [side - 1, 0], [0, side - 1], [side - 1, side - 1]].map(([x, y]) => at(back, x, y));
  const range = (values, limit) => {
    const low = Math.min(limit - 1, Math.max(0, Math.floor(Math.min(...values)) - 1));
    return [low, Math.max(low + 1, Math.min(limit, Math.ceil(Math.max(...values)) + 2))];
  };
  const [x0, x1] = range(corners.map((p) => p[0]), width);
  const [y0, y1] = range(corners.map((p) => p[1]), height);
  return [x0, y0, x1, y1];
}

/** The picture shrunk to width x height by area, of which only [x0, y0, x1, y1) is computed. */
function averaged(picture, width, height, [x0, y0, x1, y1]) {
  const columns = shares(picture.width, width, x0, x1);
  const rows = shares(picture.height, height, y0, y1);
  const data = new Uint8Array((x1 - x0) * (y1 - y0) * 4);
  const round = rounding(picture.width / width, picture.height / height);
  const pixels = picture.data;
  let out = 0;
  for (const row of rows) {
    for (const column of columns) {
      let [red, green, blue] = [0, 0, 0];
      for (let j = 0; j < row.weights.length; j++) {
        let from = ((row.first + j) * picture.width + column.first) * 4;
        for (let i = 0; i < column.weights.length; i++, from += 4) {
          const weight = row.weights[j] * column.weights[i];
          red += weight * pixels[from];
          green += weight * pixels[from + 1];
          blue += weight * pixels[from + 2];
        }
      }
      data[out] = round(red);
      data[out + 1] = round(green);
      data[out + 2] = round(blue);
      data[out + 3] = 255;
      out += 4;
    }
  }
  return { picture: { data, width: x1 - x0, height: y1 - y0 }, left: x0, top: y0 };
}

/** A block's mean -> its level, as OpenCV rounds it: a mean of whole blocks is often just between two levels. */
function rounding(fx, fy) {
  const area = fx * fy;
  if (!Number.isInteger(fx) || !Number.isInteger(fy)) return roundEven;
  if (fx === 2 && fy === 2) return Math.round;
  const share = fround(1 / area);
  return (mean) => roundEven(fround(Math.round(mean * area) * share));
}

/** For each of the cells low..high of `to` cells over `from` pixels: the first pixel and the pixels' weights, sum 1. */
function shares(from, to, low, high) {
  const step = from / to;
  const cells = [];
  for (let cell = low; cell < high; cell++) {
    const start = cell * step;
    const end = Math.min(from, start + step);
    const first = Math.floor(start + 1e-9);
    const last = Math.min(from, Math.ceil(end - 1e-9));
    const weights = [];
    for (let i = first; i < last; i++) weights.push((Math.min(end, i + 1) - Math.max(start, i)) / (end - start));
    cells.push({ first, weights });
  }
  return cells;
}

/**
 * back: crop pixels -> pixels of the picture, of which the source begins at (left, top). In float32, as OpenCV
 * computes: an int8 network passes a single level of a single pixel on to its answer.
 */
function bilinear(source, left, top, back, side, channels) {
  const { data, width, height } = source;
  const [a, b, c, d, e, f] = back.map(fround);
  const out = new Uint8Array(side * side * channels);
  const [right, bottom] = [width - 1, height - 1];
  const rgb = [0, 0, 0];
  let at = 0;
  for (let v = 0; v < side; v++) {
    const startX = fround(b * v + c);
    const startY = fround(e * v + f);
    for (let u = 0; u < side; u++) {
      const x = Math.min(right, Math.max(0, fround(a * u + startX) - left));
      const y = Math.min(bottom, Math.max(0, fround(d * u + startY) - top));
      const x0 = Math.floor(x);
      const y0 = Math.floor(y);
      const across = x - x0;
      const down = y - y0;
      const here = (y0 * width + x0) * 4;
      const beside = x0 < right ? 4 : 0;
      const below = y0 < bottom ? width * 4 : 0;
      for (let k = 0; k < 3; k++) {
        const [p, q] = [data[here + k], data[here + below + k]];
        const upper = fround(p + across * (data[here + beside + k] - p));
        const lower = fround(q + across * (data[here + below + beside + k] - q));
        rgb[k] = roundEven(fround(upper + down * (lower - upper)));
      }
      if (channels === 1) {
        // OpenCV's RGB2GRAY: 0.299, 0.587 and 0.114 in 15 bits.
        out[at++] = (rgb[0] * 9798 + rgb[1] * 19235 + rgb[2] * 3735 + 16384) >> 15;
      } else {
        out.set(rgb, at);
        at += 3;
      }
    }
  }
  return out;
}

const at = ([a, b, c, d, e, f], x, y) => [a * x + b * y + c, d * x + e * y + f];
