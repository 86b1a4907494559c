"""The mode that a user means by --dropout; see frontend.awake."""

from __future__ import annotations

from qbnnc.frontend.awake import as_meant, is_normalisation

__all__ = ["as_meant", "is_normalisation"]
