"""What the interpreter is told of a job: int64, at these places.

A job is made once and used for many predictions. Addresses are of arrays that the caller keeps
alive.
"""

MEMBER = 0
MEMBERS = 1
BATCH = 2
SAMPLES = 3  # of all members
PROGRAM = 4  # address of int64 [steps, COLUMNS]
STEPS = 5
ENDS = 6  # address of int64 [3]: where its ranges end
SCHEDULE = 7  # address of int64 [blocks, BLOCK_*]
BLOCKS = 8
CONSTANTS = 9  # address of uint8 [constant bytes], a multiple of 8
CONSTANT_BYTES = 10
SIZE = 11
