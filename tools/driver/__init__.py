"""Compile trained Bayesian neural networks into integer programs, and run them."""

__version__ = "0.1.0"
