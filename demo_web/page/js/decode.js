// A model's outputs -> landmarks in the crop's [0, 1], pose in degrees, spread in the crop's width.
// What a file leaves to the host is decoded as edgeface/codecs.py does.

/** stored: {role: typed array}, card -> {landmarks, pose, spread}, those that the model has. */
export function decode(stored, card) {
  const real = Object.fromEntries(
    Object.entries(stored).map(([role, values]) => [role, dequantize(values, card.outputs[role])]),
  );
  const answer = {};
  for (const role of ["landmarks", "pose", "spread"]) if (real[role]) answer[role] = real[role];
  const rule = card.decode;
  if (real.maps) Object.assign(answer, integral(real.maps, rule.map_height, rule.map_width, rule.sharpness));
  if (real.pose_logits) answer.pose = binned(real.pose_logits, rule.bins, rule.bins_low_deg, rule.bins_high_deg);
  if (real.pose_features) answer.pose = linear(real.pose_features, rule.pose_kernel, rule.pose_bias);
  return answer;
}

/** Real values, float. */
export function dequantize(stored, spec) {
  if (spec.scale == null) return Float32Array.from(stored);
  return Float32Array.from(stored, (value) => (value - spec.zero_point) * spec.scale);
}

/** Maps (H, W, K) -> landmarks (K, 2) and spread (K): mean and deviation of each map's softmax. */
export function integral(maps, height, width, sharpness = 1) {
  const count = maps.length / (height * width);
  const landmarks = new Float32Array(2 * count);
  const spread = new Float32Array(count);
  for (let k = 0; k < count; k++) {
    let top = -Infinity;
    for (let at = k; at < maps.length; at += count) top = Math.max(top, maps[at]);
    let [sum, x, y, square] = [0, 0, 0, 0];
    for (let row = 0, at = k; row < height; row++) {
      const v = (row + 0.5) / height;
      for (let column = 0; column < width; column++, at += count) {
        const u = (column + 0.5) / width;
        const weight = Math.exp(sharpness * (maps[at] - top));
        sum += weight;
        x += weight * u;
        y += weight * v;
        square += weight * (u * u + v * v);
      }
    }
    landmarks[2 * k] = x / sum;
    landmarks[2 * k + 1] = y / sum;
    spread[k] = Math.sqrt(Math.max(0, square / sum - (x / sum) ** 2 - (y / sum) ** 2));
  }
  return { landmarks, spread };
}

/** Logits (3, N) -> three angles: the mean of the bin centres. */
export function binned(logits, bins, low, high) {
  return Float32Array.from({ length: logits.length / bins }, (_, angle) => {
    const own = logits.subarray(angle * bins, (angle + 1) * bins);
    const top = Math.max(...own);
    let [sum, mean] = [0, 0];
    own.forEach((logit, i) => {
      const weight = Math.exp(logit - top);
      sum += weight;
      mean += weight * (low + ((high - low) / bins) * (i + 0.5));
    });
    return mean / sum;
  });
}

/** Features (H, W, C) -> three angles: one dense layer on their mean. */
export function linear(features, kernel, bias) {
  const channels = kernel.length;
  const mean = new Float64Array(channels);
  features.forEach((value, i) => (mean[i % channels] += value));
  const cells = features.length / channels;
  return Float32Array.from(bias, (start, angle) =>
    kernel.reduce((sum, row, channel) => sum + (mean[channel] / cells) * row[angle], start),
  );
}
