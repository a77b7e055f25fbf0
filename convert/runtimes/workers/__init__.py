"""Programs that run a file in another process or environment.

Each is started by its path, takes ``MODEL CROPS.npy OUT.npz`` and needs nothing but numpy and its runtime: the
environment that it runs in has no edgeface.
"""
