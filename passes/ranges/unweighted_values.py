"""Values that no weight multiplies before a norm: the trunk of a transformer that norms first.

Their codes may have 8 bits at every width. Eight bits cost nothing in memory, and could saturate
only in products with weights.
"""

from __future__ import annotations

from collections.abc import Mapping

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Clamp, Normalize, Pairwise

Readers = Mapping[Value, list[Node]]


def is_unweighted(value: Value, node: Node | None, readers: Readers) -> bool:
    """Whether sums and norms alone read a value, perhaps moved, masked or clamped, and a norm does.

    `node` makes it. A norm's own result that nothing but outputs reads is such a value too.
    """
    alone, reaches_norm = _reached(value, readers)
    made_by_norm = node is not None and isinstance(node.op, Normalize)
    return alone and (reaches_norm or (made_by_norm and not _is_computed_with(value, readers)))


def _reached(value: Value, readers: Readers) -> tuple[bool, bool]:
    """(whether nothing but sums and norms computes with a value, whether a norm does)."""
    seen, open_, reaches = set[Value](), [value], False
    while open_:
        current = open_.pop()
        if current in seen:
            continue
        seen.add(current)
        for reader in readers.get(current, ()):
            op = reader.op
            if isinstance(op, Normalize):
                reaches = True
            elif op.keeps_codes or isinstance(op, Clamp | Pairwise):
                open_.append(reader.output)
            else:
                return False, reaches
    return True, reaches


def _is_computed_with(value: Value, readers: Readers) -> bool:
    """Whether anything but moves of elements reads a value."""
    return any(
        not reader.op.keeps_codes or _is_computed_with(reader.output, readers)
        for reader in readers.get(value, ())
    )
