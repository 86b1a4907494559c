"""Sampled weights: mu + sigma * eps, recognised and emitted; Flipout."""
