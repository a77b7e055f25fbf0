// Runs /model on /crops and posts what came out, with every warning that was printed on the way.
// The page's address says how: ?accelerator=wasm|webgpu&shape=1,128,128,1&dtype=float32|uint8
const said = [];
for (const level of ["warn", "error"]) {
  const print = console[level].bind(console);
  console[level] = (...words) => {
    said.push(words.join(" "));
    print(...words);
  };
}
addEventListener("unhandledrejection", (event) => said.push(String(event.reason)));

async function main() {
  const how = new URLSearchParams(location.search);
  const accelerator = how.get("accelerator");
  const shape = how.get("shape").split(",").map(Number);
  const { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } = await import("@litertjs/core");
  let adapter = "";
  if (accelerator === "webgpu") {
    const found = await navigator.gpu?.requestAdapter();
    if (!found) throw new Error("no WebGPU adapter");
    adapter = [found.info.vendor, found.info.architecture, found.info.description].filter(Boolean).join(" ");
  }
  await loadLiteRt("/package/core/wasm/");
  const bytes = new Uint8Array(await (await fetch("/model")).arrayBuffer());
  const model = await loadAndCompile(bytes, { accelerator });
  // The engine does not look at a shader that the browser refuses: its outputs are then zero.
  getWebGpuDevice()?.addEventListener("uncapturederror", (e) => said.push(`Validation error: ${e.error.message}`));
  const crops = new Uint8Array(await (await fetch("/crops")).arrayBuffer());
  const size = shape.reduce((a, b) => a * b);
  const outputs = {};
  for (let start = 0; start < crops.length; start += size) {
    const pixels = crops.slice(start, start + size);
    const input = new Tensor(how.get("dtype") === "uint8" ? pixels : Float32Array.from(pixels), shape);
    const answers = await model.run({ image: accelerator === "webgpu" ? await input.moveTo("webgpu") : input });
    for (const [name, tensor] of Object.entries(answers)) {
      (outputs[name] ??= []).push(Array.from(await tensor.data()));
      tensor.delete();
    }
  }
  return { outputs, adapter, accelerated: model.isFullyAccelerated, agent: navigator.userAgent };
}

const report = await main().catch((error) => ({ failed: String(error?.message ?? error) }));
await fetch("/report", { method: "POST", body: JSON.stringify({ ...report, said }) });
document.title = "done";
