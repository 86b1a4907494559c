"""Where the interpreter's arrays are, as kernels are told: int64, at these places.

Each is an address and a number of elements: x and out float32, arena and constants uint8.
"""

X = 0
X_SIZE = 1
ARENA = 2
ARENA_SIZE = 3
CONSTANTS = 4
CONSTANTS_SIZE = 5
OUT = 6
OUT_SIZE = 7
SIZE = 8
