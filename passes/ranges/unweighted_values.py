"""Values that no weight multiplies before a norm, a softmax or a product of two matrices.

They are the trunk of a transformer that norms before each layer, and what attention multiplies.
Such codes may have 8 bits at every width. That costs no memory, and codes above 128 could saturate
only in products with weights.
"""

from __future__ import annotations

from collections.abc import Mapping

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Clamp, Contraction, MatMul, Normalize, Pairwise, ScaledSoftmax

Readers = Mapping[Value, list[Node]]


def is_unweighted(value: Value, node: Node | None, readers: Readers) -> bool:
    """Whether sums, norms, softmaxes and products of matrices alone read a value; not sums alone.

    The value may be moved, masked or clamped before. `node` makes it. A norm's own result that
    nothing but outputs reads is such a value too.
    """
    alone, reaches_sink = _reached(value, readers)
    made_by_norm = node is not None and isinstance(node.op, Normalize)
    return alone and (reaches_sink or (made_by_norm and not _is_computed_with(value, readers)))


def reaches_no_layer(value: Value, readers: Readers) -> bool:
    """Whether no layer or product of matrices reads a value, perhaps moved, masked or clamped."""
    return all(
        not isinstance(reader.op, Contraction | MatMul)
        and (
            not (reader.op.keeps_codes or isinstance(reader.op, Clamp))
            or reaches_no_layer(reader.output, readers)
        )
        for reader in readers.get(value, ())
    )


def _reached(value: Value, readers: Readers) -> tuple[bool, bool]:
    """(whether no weight multiplies a value, whether more than sums reads it)."""
    seen, open_, reaches = set[Value](), [value], False
    while open_:
        current = open_.pop()
        if current in seen:
            continue
        seen.add(current)
        for reader in readers.get(current, ()):
            op = reader.op
            if isinstance(op, Normalize | ScaledSoftmax | MatMul):
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
