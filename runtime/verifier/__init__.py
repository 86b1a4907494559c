"""Proof that a program stays inside its memory, before the first kernel runs.

Kernels check no index. So the verifier decodes each line of a program again, as the kernels read
it. A rule for each instruction (`rules`) computes with Python's integers which bytes its kernel may
touch: extents, vectors that reach beyond them, and indices that lie in the constants. These bytes
must lie in a region of the arena that exists at this step and that no other value uses. They must
have been written before they are read.

The proof holds for every batch, split and number of samples, because no block is larger than the
arena's capacity. `schedules` checks that for each schedule.

The verifier does not know how lowering chose a number. Its time is linear in the program, except
for sorting.
"""

from qbnnc.runtime.verifier.program import Memory, verify
from qbnnc.runtime.verifier.regions import Region
from qbnnc.runtime.verifier.schedules import verify_schedule

__all__ = ["Memory", "Region", "verify", "verify_schedule"]
