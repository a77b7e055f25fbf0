// The camera's loop: read a frame, follow or look for the face, show it.

import { FaceSmoother } from "./smooth.js";
import { shrunk } from "./source.js";
import { findFace, looksLikeFace, Tracker } from "./track.js";

const SEARCH_BUDGET_MS = 900;
const FPS_WINDOW_MS = 2000;
/**
 * Frame after frame while `running()`. page: engine() (null while a model loads), exclusive(task), steady(),
 * failed(error), show(picture, face or null, fps or null).
 */
export async function watch(camera, page) {
  let engine = null;
  let tracker = null;
  let smoother = new FaceSmoother();
  const arrivals = [];
  while (page.running()) {
    await camera.nextFrame();
    const taken = performance.now();
    const picture = page.running() && camera.frame();
    if (!picture) continue;
    if (page.engine() !== engine) {
      engine = page.engine();
      tracker = engine && new Tracker(engine.level);
    }
    let face = null;
    try {
      if (engine) face = await page.exclusive(() => look(engine, tracker, picture, page));
    } catch (error) {
      if (page.engine() === engine) page.failed(error);
    }
    if (!page.running()) break;
    arrivals.push(taken);
    while (arrivals.length > 2 && taken - arrivals[0] > FPS_WINDOW_MS) arrivals.shift();
    const fps = arrivals.length > 5 ? ((arrivals.length - 1) * 1000) / (taken - arrivals[0]) : null;
    if (!face || !page.steady()) smoother = new FaceSmoother();
    page.show(picture, face && page.steady() ? smoother.smooth(face, taken / 1000) : face, fps);
  }
}

/** The face of a frame, or null. */
async function look(engine, tracker, picture, page) {
  if (engine.closed) return null;
  if (tracker.place) {
    const face = await engine.predict(picture, tracker.place.box, tracker.place.angleDeg);
    return tracker.update(face, picture) ? face : null;
  }
  const { picture: small, scale } = shrunk(picture);
  let breath = performance.now();
  const pause = async () => {
    if (performance.now() - breath > 30) {
      await new Promise((resolve) => setTimeout(resolve));
      breath = performance.now();
    }
    return !page.running() || engine.closed;
  };
  const options = { budgetMs: SEARCH_BUDGET_MS, quick: true, level: engine.level, pause };
  const found = await findFace(small, (box) => engine.predict(small, box), options);
  if (!found || !looksLikeFace(found, engine.level)) return null;
  const face = await engine.predict(picture, found.landmarksBox.map((value) => (value + 0.5) / scale - 0.5));
  return tracker.update(face, picture) ? face : null;
}
