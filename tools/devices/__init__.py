"""Devices that a C model is tested on: cross compilers, emulators, and what boards start with."""
