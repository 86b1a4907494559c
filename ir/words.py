"""Numbers of things, as a sentence has them."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 row", "2 rows"; `many` is the plural where it is not the singular and an s.

    >>> counted(1, "pass", "passes"), counted(0, "row")
    ('1 pass', '0 rows')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
