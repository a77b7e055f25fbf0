"""Facial landmarks and head pose, together, on a phone or a Raspberry Pi."""

__version__ = "0.1.0"
