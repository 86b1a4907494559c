"""Proof that a program stays inside its memory, before the first kernel runs.

Kernels check no index. So each line of a program is decoded again, as the kernels read it, and each
thing that its kernel may touch is worked out with Python's integers: extents, what vectors read or
store beyond them, indices that lie in the constants. What is touched must lie in a room that is
there at this step, that nothing else lives in, and that was written before it is read. This holds
for every batch, split and number of samples, because blocks are no larger than the arena's
capacity; `schedules` checks that of each schedule.

Nothing here knows how lowering chose a number. The time is linear in the program, but for sorting.
"""

from qbnnc.runtime.verifier.program import Memory, verify
from qbnnc.runtime.verifier.rooms import Room
from qbnnc.runtime.verifier.schedules import verify_schedule

__all__ = ["Memory", "Room", "verify", "verify_schedule"]
