// Boxes and crops, as in edgeface/crop.py. Pixel centres are at integers: the image's corner is (-0.5, -0.5).
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

/** The affine that undoes one, computed in OpenCV's order: a last bit more or less may be a level of a pixel. */
export function inverse([a, b, c, d, e, f]) {
  const share = 1 / (a * e - b * d);
  const [p, q, r, s] = [e * share, -b * share, -d * share, a * share];
  return [p, q, -p * c - q * f, r, s, -r * c - s * f];
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
  if (scale >= 0.5) return bilinear(picture, matrix, seen(matrix, side, picture.width, picture.height), side, channels);
  // Bilinear sampling aliases below half size: average whole blocks first, but only those that the crop reads.
  const factor = Math.floor(1 / scale);
  const width = Math.max(1, roundEven(picture.width / factor));
  const height = Math.max(1, roundEven(picture.height / factor));
  const fx = picture.width / width;
  const fy = picture.height / height;
  const [a, b, c, d, e, f] = matrix;
  const [u, v] = [0.5 * fx - 0.5, 0.5 * fy - 0.5];
  matrix = [a * fx, b * fy, a * u + b * v + c, d * fx, e * fy, d * u + e * v + f];
  const part = seen(matrix, side, width, height);
  return bilinear(averaged(picture, width, height, part), matrix, part, side, channels);
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

/**
 * [x0, y0, x1, y1) of a width x height picture that a crop reads, with two pixels to spare, as edgeface/crop.py has
 * it: a pixel's place is known in float32, counted from that part's corner.
 */
function seen([a, b, c, d, e, f], side, width, height) {
  const area = a * e - b * d;
  const [u, v, half] = [(side - 1) / 2 - c, (side - 1) / 2 - f, side / 2 / Math.abs(area)];
  const range = (middle, reach, limit) => {
    const low = Math.min(Math.max(Math.floor(middle - reach) - 2, 0), limit - 1);
    return [low, Math.min(Math.max(Math.ceil(middle + reach) + 3, low + 1), limit)];
  };
  const [x0, x1] = range((e * u - b * v) / area, (Math.abs(e) + Math.abs(b)) * half, width);
  const [y0, y1] = range((a * v - d * u) / area, (Math.abs(d) + Math.abs(a)) * half, height);
  return [x0, y0, x1, y1];
}

/** The part [x0, y0, x1, y1) of the picture shrunk to width x height by area: {data, left, top, width, height}. */
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
  return { data, left: x0, top: y0, width: x1 - x0, height: y1 - y0 };
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
 * matrix: pixels of the whole picture -> crop; part: what the crop reads of it; source: the picture, or from (left, top)
 * on a part of it. In float32, as OpenCV computes: an int8 network passes a single level of a single pixel on to its
 * answer.
 */
function bilinear(source, matrix, part, side, channels) {
  const { data, width, left: sourceLeft = 0, top: sourceTop = 0 } = source;
  const [x0, y0, x1, y1] = part;
  const [m0, m1, m2, m3, m4, m5] = matrix;
  const [a, b, c, d, e, f] = inverse([m0, m1, m2 + m0 * x0 + m1 * y0, m3, m4, m5 + m3 * x0 + m4 * y0]).map(fround);
  const out = new Uint8Array(side * side * channels);
  const [right, bottom] = [x1 - x0 - 1, y1 - y0 - 1];
  const corner = (y0 - sourceTop) * width + x0 - sourceLeft;
  const rgb = [0, 0, 0];
  let at = 0;
  for (let v = 0; v < side; v++) {
    // In two steps here, in one below: OpenCV's own order.
    const startX = fround(fround(b * v) + c);
    const startY = fround(fround(e * v) + f);
    for (let u = 0; u < side; u++) {
      const x = Math.min(right, Math.max(0, fround(a * u + startX)));
      const y = Math.min(bottom, Math.max(0, fround(d * u + startY)));
      const column = Math.floor(x);
      const row = Math.floor(y);
      const across = x - column;
      const down = y - row;
      const here = (corner + row * width + column) * 4;
      const beside = column < right ? 4 : 0;
      const below = row < bottom ? width * 4 : 0;
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
