"""Messages of torch: silenced where no user can act on them, or shortened."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

_ABOUT_TORCH_ITSELF = (
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),  # torch.export, 2.13
    (UserWarning, r"The tensor attributes? .* assigned during export"),  # layers keeping a sample
)
# They log tracebacks and graphs of errors that are raised as well, or that torchvision is missing.
_LOUD = (
    "torch.fx.experimental.symbolic_shapes",
    "torch._subclasses.fake_tensor",
    "torch.onnx._internal.exporter._registration",
)


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence torch's messages about itself; standard error is dropped, as it gets graphs."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        for category, message in _ABOUT_TORCH_ITSELF:
            warnings.filterwarnings("ignore", message, category)
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


def first_line(error: Exception) -> str:
    """The first line of torch's message, which may have hundreds; its type if it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]
