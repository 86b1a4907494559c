"""Outputs, made of the arrays of a finished run."""
