"""The same golden faces through every runtime that a user may meet: ``python -m convert.runtimes``."""
