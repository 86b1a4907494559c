"""Trained PyTorch networks to FLOAT graphs.

`read` calls the folders in this order:

1. `files`: a file's format is detected, and its program or weights are read safely;
2. `objects`: what a library hands out becomes a module that draws its weights;
3. `module`: the network in memory is unwrapped, put in its mode, and its state remembered;
4. `trial_runs`: it runs as it is, and what tracing would lose is found;
5. `trace`: torch.export makes a program of it, with dropout active or off;
6. `program`: the program's input, predictions, names and random ops are told;
7. `convert`: each op becomes ops of the FLOAT graph; dropout masks and sampled weights are
   recognised, and batches that are not the first axis put there;
8. `members`: outputs of several members become a graph for each;
9. `distribution`: the FLOAT graph is compared with the module.
"""

from qbnnc.frontend.files.detect_format import FileKind, detect_format
from qbnnc.frontend.files.model_factory import ModelError
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.objects import Posterior, members_of
from qbnnc.frontend.read import (
    Source,
    example_array,
    read_file,
    read_module,
    read_modules,
    save_program,
    save_traced,
)
from qbnnc.frontend.read_weights import NoNetworkError

__all__ = [
    "Dropout",
    "FileKind",
    "ModelError",
    "NoNetworkError",
    "Posterior",
    "Source",
    "detect_format",
    "example_array",
    "members_of",
    "read_file",
    "read_module",
    "read_modules",
    "save_program",
    "save_traced",
]
