"""A file through whichever TensorFlow Lite interpreter this Python has: ``interpreter.py MODEL CROPS.npy OUT.npz``.

Prints the interpreter's name, its version and the processor. Runs on Python 3.9 and numpy 1.2x as well.
"""

import platform
import sys
from importlib import metadata

import numpy as np


def find():
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter, "ai-edge-litert"
    except ImportError:
        from tflite_runtime.interpreter import Interpreter

        return Interpreter, "tflite-runtime"


def main(model, crops, out):
    make, package = find()
    interpreter = make(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    given = {name: detail["index"] for name, detail in interpreter.get_signature_runner().get_output_details().items()}
    answers = {name: [] for name in given}
    for crop in np.load(crops):
        # As the input stores them: the caller has quantised them where need be.
        interpreter.set_tensor(taken["index"], crop[None])
        interpreter.invoke()
        for name, index in given.items():
            answers[name].append(interpreter.get_tensor(index))
    np.savez(out, **{name: np.concatenate(each) for name, each in answers.items()})
    print(f"{package} {metadata.version(package)}, numpy {np.__version__}, {platform.machine()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
