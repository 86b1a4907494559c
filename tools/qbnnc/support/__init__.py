"""Ground of all layers: errors, limits, checks of values, files, and text for people."""
