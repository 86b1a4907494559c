"""Dropout masks: where they are recognised, combined, and given lanes."""
