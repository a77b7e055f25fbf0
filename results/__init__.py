"""Measured figures as data, and what draws them into the README."""
