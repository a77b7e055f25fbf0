"""Training on a machine with a GPU and JAX, but without internet access, TensorFlow or OpenCV.

Drawing, augmentation and training run on the device, in float32 or bfloat16. Left out, against `edgeface train`:

- four augmentations: motion blur, low resolution, JPEG artifacts and color changes;
- validation during training, and `mode = "alternate"` (batches of one source at a time);
- faces that do not fit into the pack's size limit (each source keeps a share by its weight).

How much less robust such a model is to blurred, small or compressed pictures is not measured.

1. Here, where the faces are: one file of crops, as many as fit into a limit.

       python -m convert.gpu_training.pack configs/acdc_s_300w.toml --out pack.npz --limit-mib 40 \\
           --set batch_size=512 --set precision=mixed_bfloat16

2. There, from the repository's root; again with the same folder to go on where it stopped:

       KERAS_BACKEND=jax PYTHONPATH=SITE python -m convert.gpu_training.train pack.npz --out OUT --seconds 500

   OUT gets checkpoint.npz, metrics.csv, record.json and model.keras, which `edgeface evaluate` and `python -m convert`
   take. With --part-mib 15 files are cut into pieces of that size, and joined again where they are read.

SITE, beside that machine's jax and numpy, holds wheels unpacked by `pip install --no-index --no-deps --target SITE`:
keras, namex, optree, h5py, absl-py, rich, markdown-it-py, mdurl, pygments, ml_dtypes, typing_extensions, packaging.
"""
