"""Hostile exported programs are rejected, and none of their code has run.

Each exploit writes a canary file if its code runs. `test_the_exploits_are_real` shows that they
do run when torch.export.load is given the same files.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from qbnnc.frontend import read_file, save_program
from qbnnc.frontend.files.zip_archive import MAX_RATIO, MAX_UNRATED_BYTES
from qbnnc.frontend.torch_messages import quiet_torch
from qbnnc.support.errors import FileError, UserError
from tests.frontend.nets import Net

Members: TypeAlias = dict[str, bytes]
MODEL = "archive/models/model.json"
WEIGHTS = "archive/data/weights/model_weights_config.json"
CONSTANTS = "archive/data/constants/model_constants_config.json"
SAMPLES = "archive/data/sample_inputs/model.pt"


class WritesCanary:
    """Unpickling it writes the file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return eval, (f"open({str(self.canary)!r}, 'w').close()",)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of an honest program."""
    path = tmp_path_factory.mktemp("plain") / "net.pt2"
    save_program(Net().eval(), path, torch.zeros(2, 6), dropout="active")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def poison(canary: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(WritesCanary(canary), buffer)
    return buffer.getvalue()


def edited(data: bytes, edit: Callable[[str], str]) -> bytes:
    changed = edit(data.decode())
    assert changed != data.decode(), "the exploit did not change the file"
    return changed.encode()


def sample_inputs(members: Members, canary: Path) -> Members:
    return {**members, SAMPLES: poison(canary)}


def expr_str(members: Members, canary: Path) -> Members:
    """sympify evaluates Python, with the builtin functions in scope."""
    size = "Symbol('s77', positive=True, integer=True)"
    code = f"open('{canary}', 'w').close() or {size}"
    return {**members, MODEL: edited(members[MODEL], lambda text: text.replace(size, code))}


def pickled_weights(members: Members, canary: Path) -> Members:
    flagged = edited(
        members[WEIGHTS], lambda t: t.replace('"use_pickle": false', '"use_pickle": true')
    )
    weights = {n: poison(canary) for n in members if "/weights/weight_" in n}
    return {**members, **weights, WEIGHTS: flagged}


def legacy_weights(members: Members, canary: Path) -> Members:
    return {**members, "archive/data/weights/model.pt": poison(canary)}


def opaque_constant(members: Members, canary: Path) -> Members:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    config = json.dumps({"config": {"c": {**entry, "tensor_meta": None}}}).encode()
    stored = pickle.dumps(WritesCanary(canary))
    return {**members, CONSTANTS: config, "archive/data/constants/opaque_obj_0": stored}


EXPLOITS = {
    "sample inputs": (sample_inputs, "sample inputs hold something other than tensors"),
    "expr_str": (expr_str, "symbolic size .* is not plain arithmetic"),
    "use_pickle": (pickled_weights, "weight 'fc1.weight' is stored as a pickle"),
    "legacy weights": (legacy_weights, "member 'data/weights/model.pt' is not part of a plain"),
    "opaque constant": (opaque_constant, "weight 'c' is stored as a pickle or custom object"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("exploit", EXPLOITS)
def test_exploit_is_rejected_and_does_not_run(exploit: str, plain: Members, tmp_path: Path) -> None:
    craft, message = EXPLOITS[exploit]
    canary = tmp_path / "canary"
    path = write(tmp_path / "net.pt2", craft(plain, canary))
    with pytest.raises(FileError, match=rf"^{path}: .*{message}.*could run code"):
        read_file(path)
    assert not canary.exists()


@pytest.mark.parametrize("exploit", EXPLOITS)
@pytest.mark.filterwarnings("ignore")
def test_the_exploits_are_real(exploit: str, plain: Members, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = write(tmp_path / "net.pt2", EXPLOITS[exploit][0](plain, canary))
    with quiet_torch(), path.open("rb") as file, suppress(Exception):  # it may fail afterwards
        torch.export.load(file)
    assert canary.exists()


def bad_target(members: Members) -> Members:
    name = "torch.ops.aten.linear.default"
    return {**members, MODEL: edited(members[MODEL], lambda t: t.replace(name, "torch.load"))}


def reads_files(members: Members) -> Members:
    name, other = "torch.ops.aten.relu.default", "torch.ops.aten.from_file.default"
    return {**members, MODEL: edited(members[MODEL], lambda t: t.replace(name, other))}


def endless_power(members: Members) -> Members:
    size = "Symbol('s77', positive=True, integer=True)"
    return {**members, MODEL: edited(members[MODEL], lambda t: t.replace(size, "9**9**9"))}


def imports_a_module(members: Members) -> Members:
    spec = '\\"type\\": \\"builtins.tuple\\"'
    other = '\\"type\\": \\"collections.defaultdict\\"'
    return {**members, MODEL: edited(members[MODEL], lambda t: t.replace(spec, other, 1))}


def custom_object(members: Members) -> Members:
    spec, other = '{"as_tensor": {"name": "x"}}', '{"as_custom_obj": {"name": "x"}}'
    return {**members, MODEL: edited(members[MODEL], lambda t: t.replace(spec, other))}


def compiled(members: Members) -> Members:
    return {**members, "archive/data/aotinductor/model/model.so": b"\x7fELF"}


def broken_json(members: Members) -> Members:
    return {**members, MODEL: members[MODEL][:-9]}


def deep_json(members: Members) -> Members:
    return {**members, MODEL: b"[" * 200_000}


def two_folders(members: Members) -> Members:
    return {**members, "other/file": b""}


def bomb(members: Members) -> Members:
    return {**members, "archive/extra/bomb": b"\0" * (MAX_UNRATED_BYTES + 4)}


def outside(members: Members) -> Members:
    return {**members, "archive/../../etc": b""}


HOSTILE: dict[Callable[[Members], Members], str] = {
    bad_target: "op 'torch.load' is outside the aten ops",
    reads_files: "op 'torch.ops.aten.from_file.default' is outside the aten ops",
    endless_power: r"symbolic size '9\*\*9\*\*9' is not plain arithmetic",
    imports_a_module: "inputs or outputs are of the type 'collections.defaultdict'",
    custom_object: "the program holds custom objects",
    compiled: "member 'data/aotinductor/model/model.so' is not part of a plain",
    broken_json: "member 'models/model.json' is not proper JSON",
    deep_json: "member 'models/model.json' is not proper JSON",
    two_folders: "more than one archive folder",
    outside: "has no place in a model archive",
}


@pytest.mark.parametrize("craft", HOSTILE)
def test_hostile_file_is_rejected(
    craft: Callable[[Members], Members], plain: Members, tmp_path: Path
) -> None:
    path = write(tmp_path / "net.pt2", craft(plain))
    with pytest.raises(FileError, match=HOSTILE[craft]):
        read_file(path)


def test_zip_bomb_is_rejected_before_it_is_unpacked(plain: Members, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in bomb(plain).items():
            archive.writestr(name, data)
    assert MAX_RATIO < 1000, "zeros are packed a thousandfold"
    with pytest.raises(FileError, match="member 'archive/extra/bomb' unpacks to far more"):
        read_file(path)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_torch_does_not_write(kind: int, plain: Members, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in plain.items():
            archive.writestr(name, data)
    with pytest.raises(FileError, match="compression that torch does not write"):
        read_file(path)


def test_a_member_that_says_it_is_longer_than_the_file(plain: Members, tmp_path: Path) -> None:
    """A member of 2 GB, by its sizes in the directory, is rejected before it is read."""
    path = write(tmp_path / "net.pt2", plain)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = 2 * (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(FileError, match="members that overlap, or that end after the file"):
        read_file(path)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_members_of_one_name(plain: Members, tmp_path: Path) -> None:
    path = write(tmp_path / "net.pt2", plain)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MODEL, plain[MODEL])
    with pytest.raises(FileError, match="two members of the same name"):
        read_file(path)


def test_guards_and_foreign_metadata_are_dropped(plain: Members, tmp_path: Path) -> None:
    program = json.loads(plain[MODEL])
    program["guards_code"] = ["__import__('os').abort()"]
    for node in program["graph_module"]["graph"]["nodes"]:
        node["metadata"]["torch_fn"] = "x;builtins.eval"
    path = write(tmp_path / "net.pt2", {**plain, MODEL: json.dumps(program).encode()})
    assert read_file(path).graph.nodes


def places(tree: Any, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The path to every entry of a JSON tree, metadata left out."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in entries:
        if key != "metadata":
            found.append((*path, key))
            if isinstance(value, dict | list):
                found += places(value, (*path, key))
    return found


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", range(4))
def test_damaged_programs_raise_nothing_but_user_errors(
    seed: int, plain: Members, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    for _ in range(10):
        program = json.loads(plain[MODEL])
        *path, last = draw.choice(places(program))
        parent = reduce(lambda tree, key: tree[key], path, program)
        parent[last] = draw.choice([None, -1, "x", [], {}, 3, 1e9, True])
        edited = {**plain, MODEL: json.dumps(program).encode()}
        with suppress(UserError):
            read_file(write(tmp_path / "net.pt2", edited))


@pytest.fixture(params=["damaged", "wrong version"])
def unloadable(request: pytest.FixtureRequest, plain: Members, tmp_path: Path) -> Path:
    program = json.loads(plain[MODEL])
    if request.param == "damaged":
        del program["graph_module"]["signature"]
    else:
        program["schema_version"]["major"] = 99
    return write(tmp_path / "net.pt2", {**plain, MODEL: json.dumps(program).encode()})


def test_what_torch_cannot_load_is_told_with_its_version(unloadable: Path) -> None:
    with pytest.raises(FileError, match=rf"cannot be loaded by torch {torch.__version__[:3]}"):
        read_file(unloadable)
