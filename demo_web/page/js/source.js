// Pictures and the camera. What comes in is drawn on a canvas of our own; its pixels never leave the page.

/** Longest side of a picture, px: beyond this a face of 128 px gains nothing, and phones run out of canvas. */
const LONGEST_PICTURE = 2560;
const LONGEST_FRAME = 960;

/** What went wrong, for people. */
export class SourceError extends Error {}

/**
 * {canvas, data, width, height, name, scale} of an image file or blob, upright; SourceError where it is none. scale: a
 * pixel of the file in pixels of the picture.
 */
export async function openPicture(blob, name = blob.name ?? "picture") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new SourceError(
      `${name} is not a picture that this browser can read, or too large. JPEG, PNG and WebP work everywhere.`,
    );
  }
  const scale = Math.min(1, LONGEST_PICTURE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const picture = read(bitmap, width, height, document.createElement("canvas"));
  bitmap.close();
  return { ...picture, name, scale };
}

/** The picture at most `longest` px long, for a search: {picture, scale}, itself and 1 where it is small already. */
export function shrunk(picture, longest = 512) {
  const scale = Math.min(1, longest / Math.max(picture.width, picture.height));
  if (scale === 1) return { picture, scale };
  const size = [picture.width, picture.height].map((length) => Math.max(1, Math.round(length * scale)));
  return { picture: read(picture.canvas, ...size, document.createElement("canvas")), scale };
}

/** RGBA pixels of anything that can be drawn; transparent parts turn white. */
function read(drawable, width, height, canvas) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(drawable, 0, 0, width, height);
  return { canvas, data: context.getImageData(0, 0, width, height).data, width, height };
}

/** Files that are pasted, or dropped anywhere: else the browser would leave the page for them. */
export function incoming(frame, take, refuse) {
  addEventListener("paste", (event) => take(event.clipboardData?.files[0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    frame.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && frame.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
    else refuse();
  });
}

const REFUSALS = {
  NotAllowedError: "The camera was refused. Allow it for this page (the icon beside the address), then try again.",
  NotFoundError: "No camera was found. Plug one in, or use a picture.",
  NotReadableError: "The camera is busy: another program holds it. Close that one, then try again.",
  OverconstrainedError: "No camera faces that way. Try the other one.",
};

/** A running camera. Frames are read upright and unmirrored, as the model sees them. */
export class Camera {
  /** facing: "user" or "environment"; onEnd: the camera vanished. SourceError says what people can do. */
  static async open(facing, onEnd) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new SourceError("The camera needs https or localhost: this page was opened from another address.");
    }
    let stream;
    try {
      const video = { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 60 } };
      stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      throw new SourceError(REFUSALS[error.name] ?? `The camera did not start: ${error.message}`);
    }
    const camera = new Camera(stream);
    stream.getVideoTracks()[0].addEventListener("ended", onEnd);
    try {
      await camera.video.play();
    } catch (error) {
      camera.close();
      throw new SourceError(`The camera's picture did not start: ${error.message}`);
    }
    return camera;
  }

  constructor(stream) {
    this.stream = stream;
    this.canvas = document.createElement("canvas");
    this.video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
    // The track knows which way it looks; a laptop's does not say, and looks at the user.
    this.facing = stream.getVideoTracks()[0].getSettings().facingMode ?? "user";
  }

  /** Resolves when a new frame is there, or the camera is closed. */
  nextFrame() {
    return new Promise((resolve) => {
      this.wake = resolve;
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(() => resolve());
      else requestAnimationFrame(() => resolve());
    });
  }

  /** The current frame as a picture; null while there is none. */
  frame() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth || !videoHeight) return null;
    const scale = Math.min(1, LONGEST_FRAME / Math.max(videoWidth, videoHeight));
    const size = [videoWidth, videoHeight].map((length) => Math.max(1, Math.round(length * scale)));
    return { ...read(this.video, ...size, this.canvas), name: "camera", scale };
  }

  close() {
    for (const track of this.stream.getTracks()) track.stop();
    this.video.srcObject = null;
    this.wake?.();
  }
}

/** Whether there is a second camera to turn to. Names are known only after permission. */
export async function cameras() {
  try {
    return (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput").length;
  } catch {
    return 0;
  }
}
