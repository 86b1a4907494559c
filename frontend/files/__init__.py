"""Files: their format, safe loading, and weights."""
