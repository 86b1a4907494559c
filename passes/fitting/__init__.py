"""Weights and biases fitted to the outputs of the float layers."""
