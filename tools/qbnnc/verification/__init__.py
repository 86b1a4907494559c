"""Artefacts held against the oracle, and against the module they were compiled from."""
