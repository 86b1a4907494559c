"""Quantisation points, their observed ranges, and the FakeQuantize nodes that hold them."""
