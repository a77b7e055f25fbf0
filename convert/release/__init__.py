"""Measured figures as data, and what draws them into the README."""

import os

# Before Keras is imported: figures are TensorFlow's, whose own messages would bury them.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
