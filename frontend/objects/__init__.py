"""Posteriors as libraries hand them out, turned into modules that draw their weights.

A library is recognised by the package of an object's classes and by its attributes, and is never
imported from here.
"""

from qbnnc.frontend.objects.posterior import Posterior, in_users_names
from qbnnc.frontend.objects.recognise import is_object, members_of

__all__ = ["Posterior", "in_users_names", "is_object", "members_of"]
