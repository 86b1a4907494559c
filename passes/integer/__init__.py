"""Passes to the integer level, and over it."""
