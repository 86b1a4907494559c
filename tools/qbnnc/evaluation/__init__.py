"""Metrics of predictors, compiled or float, on labelled data: `qbnnc evaluate`."""
