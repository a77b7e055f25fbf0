// The picture on the screen: its canvas, and the box that people move by pointer, touch and keys.

import { drawFace } from "./draw.js";

const SMALLEST = 12;
const KEY_STEP = 0.02;
const GROWTH = 1.04;

export class Stage {
  /** elements: {frame, canvas, box}; onBox(box, done): the box was moved; done is false while it still moves. */
  constructor({ frame, canvas, box }, onBox) {
    Object.assign(this, { frame, canvas, handle: box, onBox });
    this.picture = null;
    this.face = null;
    this.box = null;
    this.mirrored = false;
    this.shown = { landmarks: true, spread: true, axes: true, box: true };
    new ResizeObserver(() => this.draw()).observe(frame);
    canvas.addEventListener("click", (event) => this.#placeAt(event));
    box.addEventListener("pointerdown", (event) => this.#grab(event));
    box.addEventListener("keydown", (event) => this.#key(event));
  }

  /** box null: it is not to be moved (the camera's). */
  show(picture, face, box) {
    Object.assign(this, { picture, face, box });
    this.draw();
  }

  draw() {
    const { canvas, frame, picture } = this;
    this.handle.hidden = !(picture && this.box && this.shown.box);
    if (!picture) return;
    frame.style.setProperty("--aspect", `${picture.width} / ${picture.height}`);
    const { width, height } = frame.getBoundingClientRect();
    if (!width || !height) return;
    const ratio = Math.min(3, devicePixelRatio || 1);
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const scale = Math.min(width / picture.width, height / picture.height);
    this.view = {
      scale,
      left: (width - picture.width * scale) / 2,
      top: (height - picture.height * scale) / 2,
      width: picture.width,
    };
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, w, h);
    const step = scale * ratio;
    // Pixel centres are at integers: the picture's corner is (-0.5, -0.5).
    if (this.mirrored) context.setTransform(-step, 0, 0, step, w - this.view.left * ratio, this.view.top * ratio);
    else context.setTransform(step, 0, 0, step, this.view.left * ratio, this.view.top * ratio);
    context.translate(0.5, 0.5);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.canvas, -0.5, -0.5, picture.width, picture.height);
    if (this.face) drawFace(context, this.face, { ...this.shown, box: this.shown.box && !this.box }, 1 / scale);
    if (this.box) this.#layBox();
  }

  #layBox() {
    const [x0, y0, x1, y1] = this.box;
    const { scale, left, top } = this.view;
    Object.assign(this.handle.style, {
      left: `${left + (x0 + 0.5) * scale}px`,
      top: `${top + (y0 + 0.5) * scale}px`,
      width: `${(x1 - x0) * scale}px`,
      height: `${(y1 - y0) * scale}px`,
    });
  }

  #change(box, done) {
    const { width, height } = this.picture;
    const [w, h] = [box[2] - box[0], box[3] - box[1]];
    // Its centre stays on the picture; what hangs over the edge is the border, repeated.
    const x = Math.min(width - 1, Math.max(0, (box[0] + box[2]) / 2));
    const y = Math.min(height - 1, Math.max(0, (box[1] + box[3]) / 2));
    this.box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
    this.draw();
    this.onBox(this.box, done);
  }

  /** A tap beside the box puts it there. */
  #placeAt(event) {
    if (!this.box) return;
    const { left, top } = this.canvas.getBoundingClientRect();
    const x = (event.clientX - left - this.view.left) / this.view.scale - 0.5;
    const y = (event.clientY - top - this.view.top) / this.view.scale - 0.5;
    const [w, h] = [this.box[2] - this.box[0], this.box[3] - this.box[1]];
    this.#change([x - w / 2, y - h / 2, x + w / 2, y + h / 2], true);
  }

  #grab(event) {
    if (event.button !== 0 || !this.box) return;
    const corner = event.target.dataset.corner;
    const start = { x: event.clientX, y: event.clientY, box: this.box };
    this.handle.setPointerCapture(event.pointerId);
    this.handle.focus({ preventScroll: true });
    event.preventDefault();
    const move = (now) => {
      const dx = (now.clientX - start.x) / this.view.scale;
      const dy = (now.clientY - start.y) / this.view.scale;
      let [x0, y0, x1, y1] = start.box;
      if (!corner) [x0, y0, x1, y1] = [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
      if (corner?.includes("w")) x0 = Math.min(x1 - SMALLEST, x0 + dx);
      if (corner?.includes("e")) x1 = Math.max(x0 + SMALLEST, x1 + dx);
      if (corner?.includes("n")) y0 = Math.min(y1 - SMALLEST, y0 + dy);
      if (corner?.includes("s")) y1 = Math.max(y0 + SMALLEST, y1 + dy);
      this.#change([x0, y0, x1, y1], false);
    };
    const end = () => {
      this.handle.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) this.handle.removeEventListener(name, end);
      if (this.box) this.onBox(this.box, true);
    };
    this.handle.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.handle.addEventListener(name, end);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.box) return;
    const [x0, y0, x1, y1] = this.box;
    const [w, h] = [x1 - x0, y1 - y0];
    const step = Math.max(1, KEY_STEP * Math.max(w, h)) * (event.shiftKey ? 5 : 1);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const grow = { "+": GROWTH, "=": GROWTH, "-": 1 / GROWTH, _: 1 / GROWTH }[event.key];
    if (moves[event.key]) {
      const [dx, dy] = moves[event.key];
      this.#change([x0 + dx, y0 + dy, x1 + dx, y1 + dy], true);
    } else if (grow && Math.min(w, h) * grow >= SMALLEST) {
      const [dx, dy] = [(w * (grow - 1)) / 2, (h * (grow - 1)) / 2];
      this.#change([x0 - dx, y0 - dy, x1 + dx, y1 + dy], true);
    } else {
      return;
    }
    event.preventDefault();
  }
}
