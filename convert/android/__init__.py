"""The Android project's side of the workstation: manifest of its models, golden vectors, checks without a phone."""
