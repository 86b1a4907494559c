"""The network in memory: wrappers around it, its training mode, and its state."""
