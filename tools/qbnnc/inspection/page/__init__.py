"""The page of a Model: one HTML file, readable anywhere, loading nothing."""

from qbnnc.inspection.page.document import page

__all__ = ["page"]
