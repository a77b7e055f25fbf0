"""Annotated faces: one reader per dataset, and the rendered default."""
