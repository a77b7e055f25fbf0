"""Making a release: measure the models, ship their files, draw tables, cards and pictures from results/."""

import os

# Before Keras is imported: figures are TensorFlow's, whose own messages would bury them.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
