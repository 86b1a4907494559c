"""The factory package.module:function: the user's code that builds the network."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import cast

from torch import nn

from qbnnc.support.errors import UserError


class ModelError(UserError):
    """A factory of the user's that cannot be imported or called."""


def _place(factory: str) -> str:
    return f"`model` {factory}"


def as_module(built: object, factory: str) -> nn.Module:
    """A module that a factory built, in eval mode; ModelError if it is none."""
    if not isinstance(built, nn.Module):
        raise ModelError(
            f"returns a {type(built).__name__}, not a torch.nn.Module",
            _place(factory),
            "return the network",
        )
    return built.eval()


def build_module(factory: str, arguments: Mapping[str, object]) -> nn.Module:
    """The network of a factory, in eval mode; ModelError as of `build` and `as_module`."""
    return as_module(build(factory, arguments), factory)


def build(factory: str, arguments: Mapping[str, object]) -> object:
    """Import "package.module:factory", also from the current folder, and call it.

    ModelError: there is no such module or function, or the arguments do not fit.
    """
    make = _find(factory)
    try:
        return make(**arguments)
    except Exception as error:  # whatever the user's code raises
        given = ", ".join(f"{k}={v!r}" for k, v in arguments.items()) or "no arguments"
        raise ModelError(
            f"calling it with {given} fails ({error})", _place(factory), "check `model_args`"
        ) from error


def _find(factory: str) -> Callable[..., object]:
    where, colon, name = factory.partition(":")
    if not (where and colon and name):
        raise ModelError(
            "is not of the form package.module:factory", _place(factory), "write models.net:LeNet"
        )
    if (module := _dotted(where)) != where:
        raise ModelError("names a file, not a module", _place(factory), f"write {module}:{name}")
    found: object = _imported(factory, where)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ModelError(
            f"module {where!r} has no function or class {name!r}", _place(factory), "check it"
        )
    return cast("Callable[..., object]", found)


def _dotted(where: str) -> str:
    """The module of a path: "nets/lenet.py" is nets.lenet."""
    parts = where.replace("\\", "/").removesuffix(".py").split("/")
    return ".".join(part for part in parts if part not in ("", "."))


def _imported(factory: str, where: str) -> ModuleType:
    with _current_folder_first():
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            hint = "check the name, and the folder you are in"
            if error.name and not f"{where}.".startswith(f"{error.name}."):
                hint = f"install {error.name!r}"
            raise ModelError(f"cannot be imported ({error})", _place(factory), hint) from error
        except Exception as error:  # whatever the user's code raises
            raise ModelError(
                f"importing it fails ({error})", _place(factory), "mend that first"
            ) from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    importlib.invalidate_caches()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
