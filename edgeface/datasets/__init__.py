"""Annotated faces: one reader a dataset, and the rendered default."""
