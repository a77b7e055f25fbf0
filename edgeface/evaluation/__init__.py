"""Metrics, protocols and the evaluation of a model on annotated faces."""
