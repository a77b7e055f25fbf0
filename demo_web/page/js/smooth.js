// The one-euro filter (Casiez et al., CHI 2012), as in edgeface/runtime/smoothing.py: steady while a face is still,
// quick when it moves.

/** Hz at rest; Hz gained per unit of speed (face sizes, or right angles, a second); Hz of the speed's own low-pass. */
const MIN_CUTOFF = 1;
const BETA = 40;
const SPEED_CUTOFF = 1;
const RIGHT_ANGLE = 90;

/** Filters points of `dims` values each: the speed of a point opens its own cutoff. */
export class OneEuro {
  constructor(dims) {
    this.dims = dims;
    this.values = null;
  }

  /** values: flat; unit: what counts as a length of 1. A new array; the first values come back as they are. */
  filter(values, unit, timeS) {
    if (this.values?.length !== values.length) {
      this.values = Float64Array.from(values);
      this.speeds = new Float64Array(values.length);
      this.timeS = timeS;
    }
    const step = timeS - this.timeS;
    if (step > 0) this.#update(values, step, Math.max(unit, 1e-9));
    return this.values.slice();
  }

  #update(values, step, unit) {
    this.timeS += step;
    const slow = weight(SPEED_CUTOFF, step);
    for (let start = 0; start < values.length; start += this.dims) {
      let squares = 0;
      for (let i = start; i < start + this.dims; i++) {
        this.speeds[i] += slow * ((values[i] - this.values[i]) / (step * unit) - this.speeds[i]);
        squares += this.speeds[i] ** 2;
      }
      const quick = weight(MIN_CUTOFF + BETA * Math.sqrt(squares), step);
      for (let i = start; i < start + this.dims; i++) this.values[i] += quick * (values[i] - this.values[i]);
    }
  }
}

/** One face's landmarks and pose, frame after frame. */
export class FaceSmoother {
  #points = new OneEuro(2);
  #pose = new OneEuro(3);
  #angles = null;

  /** A face as `Engine.predict` gives it -> the same, calmed. */
  smooth(face, timeS) {
    const [x0, y0, x1, y1] = face.box;
    const size = Math.sqrt((x1 - x0) * (y1 - y0));
    const landmarks = face.landmarks && this.#points.filter(face.landmarks, size, timeS);
    return { ...face, landmarks, pose: face.pose && this.#turned(face.pose, timeS) };
  }

  #turned(pose, timeS) {
    // 179 and -179 degrees are 2 apart.
    this.#angles = pose.map((angle, i) => (this.#angles ? this.#angles[i] + wrapped(angle - this.#angles[i]) : angle));
    return Array.from(this.#pose.filter(this.#angles, RIGHT_ANGLE, timeS), wrapped);
  }
}

/** Degrees into [-180, 180). */
const wrapped = (angle) => ((((angle + 180) % 360) + 360) % 360) - 180;

/** The exponential filter's weight of the new value: 1 / (1 + tau / step), tau = 1 / (2 pi cutoff). */
function weight(cutoffHz, stepS) {
  const turn = 2 * Math.PI * stepS * cutoffHz;
  return turn / (turn + 1);
}
