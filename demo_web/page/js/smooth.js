// The one-euro filter (Casiez et al., CHI 2012): steady when still, quick when moving.

export class OneEuro {
  /** cutoffHz: of a still value; speed: how much faster it follows per unit and second. */
  constructor(cutoffHz = 1.5, speed = 0.6) {
    Object.assign(this, { cutoffHz, speed });
    this.reset();
  }

  reset() {
    this.values = null;
  }

  /** values: of any length; scale: one unit of movement (a face's size); timeMs: of the frame. A new array. */
  filter(values, scale, timeMs) {
    const step = this.values ? Math.max(1e-3, (timeMs - this.timeMs) / 1000) : 0;
    if (!this.values || this.values.length !== values.length || step > 0.5) {
      this.values = Float64Array.from(values);
      this.speeds = new Float64Array(values.length);
      this.timeMs = timeMs;
      return this.values.slice();
    }
    this.timeMs = timeMs;
    const share = (cutoffHz) => 1 / (1 + 1 / (2 * Math.PI * cutoffHz * step));
    const slow = share(1);
    values.forEach((value, i) => {
      const speed = (value - this.values[i]) / step / scale;
      this.speeds[i] += slow * (speed - this.speeds[i]);
      this.values[i] += share(this.cutoffHz + this.speed * 20 * Math.abs(this.speeds[i])) * (value - this.values[i]);
    });
    return this.values.slice();
  }
}
