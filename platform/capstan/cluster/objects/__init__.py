"""Objects of a system as plain dicts: pure functions of its file, its names and the operator's settings."""
