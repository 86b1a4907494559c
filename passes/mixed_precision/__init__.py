"""Bits for each layer: the cost of fewer bits, and the fewest that a budget allows."""
