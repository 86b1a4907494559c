"""Tensors whose batch is not torch's first axis, and how ops take them."""
