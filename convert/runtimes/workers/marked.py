"""Inferences between two marks for `instructions.c`: ``marked.py MODEL CROP.npy RUNS``, on one thread.

MODEL is a bare .tflite or one of edgeface's; CROP.npy is the input tensor as it is stored. A mark is a getppid().
"""

import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(model, crop, runs):
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.load(crop))
    interpreter.invoke()  # the first run lays out weights and buffers
    for _ in range(int(runs)):
        os.getppid()
        interpreter.invoke()
        os.getppid()


if __name__ == "__main__":
    main(*sys.argv[1:])
