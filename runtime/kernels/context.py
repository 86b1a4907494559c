"""What kernels see while a block is run: int64, at these places; BLOCK_* of a schedule's line."""

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

BLOCK_RANGE = 0
BLOCK_START = 1
BLOCK_FIRST_ROW = 2
BLOCK_ROWS = 3
BLOCK_FIRST_SAMPLE = 4
BLOCK_SAMPLES = 5
BLOCK_SIZE = 6
