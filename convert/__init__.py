"""From trained Keras models to checked `.tflite` files: ``python -m convert``."""
