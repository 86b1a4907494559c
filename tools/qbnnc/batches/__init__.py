"""Predictions of more rows than memory holds: files read, predicted and written in chunks."""
