"""Ensembles inside one module: an axis of its outputs holds the members."""
