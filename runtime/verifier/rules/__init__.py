"""Rules of instructions: each states the bytes that a kernel may touch, in Python's integers."""
