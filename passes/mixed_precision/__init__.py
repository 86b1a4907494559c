"""Bits for each layer: what fewer cost, and as few as a budget allows."""
