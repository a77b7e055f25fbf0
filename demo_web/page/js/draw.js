// What is seen in a picture, drawn on a canvas whose transform maps picture pixels. Which points are joined, and their
// colours, comes with the markup.

import { axesOnScreen } from "./pose.js";

const AXES = ["#ff5a4d", "#4fd06a", "#5b8cff"];
const BOX = "#ffc83c";
const FAR = 20000;

/** The colour and the haze's alpha of every point, and the groups that lines join. */
export function scheme(markup) {
  const colors = new Array(markup.size);
  const haze = new Array(markup.size);
  for (const { points, color } of markup.groups) {
    // Points that lie close together share one haze: else the eyes would be fogged and the jaw bare.
    const alpha = Math.round(Math.max(9, Math.min(32, 110 / points.length)));
    for (const point of points) [colors[point], haze[point]] = [color, alpha.toString(16).padStart(2, "0")];
  }
  return { colors, haze, lines: markup.groups.filter((group) => group.joined) };
}

/** face: as `Engine.predict` gives it; shown: {landmarks, spread, axes, box}; pixel: a CSS pixel in picture pixels. */
export function drawFace(context, face, shown, pixel) {
  const look = scheme(face.markup);
  context.save();
  context.lineCap = "round";
  context.lineJoin = "round";
  if (shown.box) drawBox(context, face, pixel);
  if (shown.spread && face.landmarks && face.spreadPx) drawSpread(context, face, look);
  if (shown.landmarks && face.landmarks) drawLandmarks(context, face, look, pixel);
  if (shown.axes && face.pose) drawAxes(context, face, pixel);
  context.restore();
}

function drawLandmarks(context, { landmarks }, { colors, lines }, pixel) {
  const extent = Math.max(...range(landmarks));
  const radius = Math.max(1.4 * pixel, extent / 130);
  // A dark line under each: bright ones vanish on bright skin.
  for (const [width, alpha, dark] of [[radius * 1.5 + 1.5 * pixel, 0.35, true], [radius * 0.8, 0.9, false]]) {
    context.globalAlpha = alpha;
    context.lineWidth = width;
    for (const { color, points } of lines) {
      context.strokeStyle = dark ? "#000" : color;
      context.beginPath();
      points.forEach((point, i) => {
        const [x, y] = [landmarks[2 * point], landmarks[2 * point + 1]];
        if (i === 0) context.moveTo(x, y);
        else context.lineTo(x, y);
      });
      context.stroke();
    }
  }
  context.globalAlpha = 1;
  for (let k = 0; k < colors.length; k++) {
    const [x, y] = [landmarks[2 * k], landmarks[2 * k + 1]];
    if (!(Math.abs(x) < FAR && Math.abs(y) < FAR)) continue;
    disc(context, x, y, radius + 0.7 * pixel, "rgba(0, 0, 0, 0.55)");
    disc(context, x, y, radius, colors[k]);
  }
}

/** A haze as wide as each point's attention: where the haze is wide, the network is not sure. */
function drawSpread(context, { landmarks, spreadPx }, { colors, haze }) {
  context.globalCompositeOperation = "screen";
  for (let k = 0; k < spreadPx.length; k++) {
    const [x, y, radius] = [landmarks[2 * k], landmarks[2 * k + 1], spreadPx[k]];
    if (!(radius > 0 && radius < FAR && Math.abs(x) < FAR && Math.abs(y) < FAR)) continue;
    const fill = context.createRadialGradient(x, y, 0, x, y, radius);
    fill.addColorStop(0, colors[k] + haze[k]);
    fill.addColorStop(1, `${colors[k]}00`);
    disc(context, x, y, radius, fill);
  }
  context.globalCompositeOperation = "source-over";
}

function drawAxes(context, face, pixel) {
  const box = face.landmarksBox ?? face.box;
  const length = 0.55 * Math.sqrt((box[2] - box[0]) * (box[3] - box[1]));
  const origin = face.landmarks ? meanPoint(face.landmarks) : [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const width = Math.max(2.2 * pixel, length / 32);
  const axes = axesOnScreen(face.pose).map((axis, i) => ({ axis, color: AXES[i] }));
  // The farthest first, so that the nearest lies on top.
  for (const { axis, color } of axes.sort((one, other) => one.axis[2] - other.axis[2])) {
    const tip = [origin[0] + length * axis[0], origin[1] + length * axis[1]];
    for (const [extra, stroke] of [[1.8 * pixel, "rgba(0, 0, 0, 0.45)"], [0, color]]) {
      context.strokeStyle = stroke;
      context.lineWidth = width + extra;
      context.beginPath();
      context.moveTo(...origin);
      context.lineTo(...tip);
      context.stroke();
    }
    disc(context, ...tip, width * 1.05, color);
  }
  disc(context, ...origin, width * 0.9, "#fff");
}

/** The box without the crop's margin, turned as the crop is. */
function drawBox(context, { crop, cropScale, box }, pixel) {
  context.save();
  context.translate(...crop.center);
  context.rotate((crop.angleDeg * Math.PI) / 180);
  const half = crop.size / cropScale / 2;
  const [w, h] = crop.angleDeg ? [half, half] : [(box[2] - box[0]) / 2, (box[3] - box[1]) / 2];
  context.strokeStyle = BOX;
  context.lineWidth = 1.5 * pixel;
  context.globalAlpha = 0.8;
  context.beginPath();
  context.roundRect(-w, -h, 2 * w, 2 * h, Math.min(w, h) * 0.08);
  context.stroke();
  context.restore();
}

function disc(context, x, y, radius, fill) {
  context.fillStyle = fill;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function meanPoint(points) {
  let [x, y] = [0, 0];
  for (let i = 0; i < points.length; i += 2) {
    x += points[i];
    y += points[i + 1];
  }
  return [(2 * x) / points.length, (2 * y) / points.length];
}

function range(points) {
  const xs = points.filter((_, i) => i % 2 === 0);
  const ys = points.filter((_, i) => i % 2 === 1);
  return [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)];
}
