"""Programs for this repository's own work, not in the wheel."""
