// Head pose as in edgeface/head_pose.py: [yaw, pitch, roll] in degrees, matrix = Rz(roll) Ry(yaw) Rx(pitch).
// yaw > 0 turns the face to the image's left. Matrices are three rows of three.

const RADIANS = Math.PI / 180;

export function toMatrix([yawDeg, pitchDeg, rollDeg]) {
  const [yaw, pitch, roll] = [yawDeg * RADIANS, pitchDeg * RADIANS, rollDeg * RADIANS];
  const [cy, sy, cp, sp, cr, sr] = [yaw, pitch, roll].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
  return [
    [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
    [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
    [-sy, cy * sp, cy * cp],
  ];
}

/** |yaw| <= 90. There pitch and roll turn about one axis, and roll is reported as 0. */
export function fromMatrix(m) {
  const cosYaw = Math.hypot(m[0][0], m[1][0]);
  const locked = cosYaw < 1e-6;
  const yaw = Math.atan2(-m[2][0], cosYaw);
  const pitch = locked ? Math.atan2(-m[1][2], m[1][1]) : Math.atan2(m[2][1], m[2][2]);
  const roll = locked ? 0 : Math.atan2(m[1][0], m[0][0]);
  return [yaw / RADIANS, pitch / RADIANS, roll / RADIANS];
}

/** The pose seen in a crop whose frame is turned clockwise by angleDeg. */
export function turnPose(pose, angleDeg) {
  if (angleDeg === 0) return Array.from(pose);
  const [cos, sin] = [Math.cos(angleDeg * RADIANS), Math.sin(angleDeg * RADIANS)];
  // The crop's frame turns clockwise, so its content turns counter-clockwise: times Rz(+angle) transposed.
  return fromMatrix(toMatrix(pose).map(([x, y, z]) => [x * cos - y * sin, x * sin + y * cos, z]));
}

/**
 * Rows: the face's own x (image right at rest), y (down) and z (out of the face), on the screen: x right, y down,
 * z toward the viewer.
 */
export function axesOnScreen(pose) {
  const m = toMatrix(pose);
  const flip = [1, -1, 1];
  return m.map((row, i) => row.map((value, j) => flip[i] * value * flip[j]));
}
