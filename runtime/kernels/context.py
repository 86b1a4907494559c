"""What the interpreter is told besides the program: int64, at these places.

REQUEST_* of a request, BLOCK_* of a line of a schedule, the others of the context that kernels see
while a block is run.
"""

SAMPLES = 0  # draws of the block
ROWS = 1  # rows of the block
FIRST_ROW = 2  # of the block, in the chunk
SEED = 3
SAMPLE_NUMBER = 4  # of the first draw
SAMPLE_STEP = 5  # from one draw to the next
ROW_NUMBER = 6  # of the first row, for random numbers
INPUT_ROW = 7  # of the first row, in the batch
OUT_FIRST = 8  # copy of the prediction for the first draw and row
OUT_STEP = 9  # copies from one draw to the next
OUT_COPIES = 10  # copies of the whole prediction
SIZE = 11

REQUEST_SEED = 0
REQUEST_ROW = 1  # number of the first row, for random numbers
REQUEST_MEMBER = 2
REQUEST_MEMBERS = 3
REQUEST_BATCH = 4
REQUEST_SAMPLES = 5  # of all members

BLOCK_RANGE = 0
BLOCK_START = 1
BLOCK_FIRST_ROW = 2
BLOCK_ROWS = 3
BLOCK_FIRST_SAMPLE = 4
BLOCK_SAMPLES = 5
