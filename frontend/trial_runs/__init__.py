"""Runs of the module as it is, before anything is traced."""
