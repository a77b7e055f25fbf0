"""Representative sets: which faces a converter measures its ranges on. ``python -m calibration``."""
