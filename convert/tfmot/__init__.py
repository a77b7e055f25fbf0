"""tensorflow-model-optimization as the reference that `edgeface.quantize` is held against.

A functional Keras 3 model is rebuilt in `tf_keras` with its weights (`rebuild`), made quantization-aware by tfmot
(`quantize`), fine-tuned (`tuning`) and converted as our own models are (`edgeface.convert.tflite`):

    python -m convert.tfmot MODEL.keras --out DIR

Needs the extra `edgeface[tfmot]`. Importing tfmot turns `tf.keras` into Keras 2 for the whole process, so programs run
the line above in a process of its own; `convert/release/tfmot.py` does, and compares.
"""
