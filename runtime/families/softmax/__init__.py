"""Softmax over the last axis of codes or accumulators."""
