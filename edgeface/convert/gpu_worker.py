"""GPU alone, in a process of its own: an engine or a driver that dies takes nothing else with it.

``gpu_worker.py MODEL [CROPS.npy OUT.npz] [--float16]``: without crops it compiles the file and runs it once on noise,
because a shader that the driver refuses shows only there. Crops are as the input stores them. The engine's own words go
to stderr; the caller reads them.
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel, GpuOptions, HardwareAccelerator, Options


def main(arguments: list[str]) -> int:
    paths = [a for a in arguments if not a.startswith("--")]
    options = Options(
        hardware_accelerators=HardwareAccelerator.GPU,
        gpu_options=GpuOptions(enforce_f32="--float16" not in arguments),
    )
    model = CompiledModel.from_file(paths[0], options=options)
    print("COMPILED", file=sys.stderr, flush=True)
    key = next(iter(model.get_signature_list()))
    names = model.get_signature_list()[key]["outputs"]
    taken, given = model.get_input_tensor_details(key), model.get_output_tensor_details(key)
    tensor = next(iter(taken.values()))
    if len(paths) > 1:
        crops = np.load(paths[1])
    else:
        crops = np.random.default_rng(0).integers(0, 256, (1, *tensor["shape"][1:]), dtype=np.uint8)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    answers = {name: [] for name in names}
    for crop in crops:
        inputs[0].write(crop[None].astype(tensor["dtype"]))
        model.run_by_index(0, inputs, outputs)
        for name, buffer in zip(names, outputs, strict=True):
            shape = given[name]["shape"]
            flat = buffer.read(int(np.prod(shape)), np.dtype(given[name]["dtype"]))
            answers[name].append(np.array(flat).reshape(shape))
    print("RAN", file=sys.stderr, flush=True)
    if len(paths) > 2:
        np.savez(paths[2], **{name: np.concatenate(each) for name, each in answers.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
