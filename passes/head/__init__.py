"""The meaning of a network's outputs: classifier, regression, or raw."""
