"""The Dockerfile, by its instructions."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from qbnnc.backends.onnx import emit
from tests.runtime.nets import lenet

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tools" / "serving" / "Dockerfile"
FORBIDDEN = {"torch", "onnx", "onnx_ir", "numba", "llvmlite", "click"}


def instructions() -> list[tuple[str, str]]:
    text = FILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (x.partition(" ") for x in lines)]


def test_instructions() -> None:
    found = instructions()
    assert [word for word, _ in found] == [
        *("FROM", "COPY", "RUN", "WORKDIR", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "CMD")
    ]
    of = dict(found)
    assert re.fullmatch(r"python:3\.\d+-slim", of["FROM"])
    assert of["USER"] == "service"
    assert "useradd --system --create-home service" in of["RUN"]
    assert "pip install --no-cache-dir --no-deps /source" in of["RUN"]


def test_commands_name_what_exists() -> None:
    of = dict(instructions())
    check, start = (json.loads(of[word][of[word].index("[") :]) for word in ("HEALTHCHECK", "CMD"))
    assert "/health" in check[2]
    compile(check[2], "check", "exec")
    module, _, factory = start[1].partition(":")
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    assert f"def {factory}(" in source
    assert f"127.0.0.1:{start[-1]}/" in check[2]
    assert of["EXPOSE"] == start[-1]


def test_the_image_holds_what_the_service_loads(tmp_path: Path) -> None:
    """A process that serves an .onnx loads no other package that needs to be installed."""
    named = re.search(r"--no-cache-dir (fastapi [a-z ]+)", dict(instructions())["RUN"])
    assert named is not None
    model = tmp_path / "model.onnx"
    model.write_bytes(emit(lenet(), row_ids=True))
    code = f"""
import sys
from tools.serving.app import from_environment
from_environment()
print(*{{name.partition(".")[0] for name in sys.modules}} & {FORBIDDEN!r})
"""
    environment = os.environ | {"QBNNC_ARTEFACT": str(model)}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == []
    assert {"fastapi", "numpy", "onnxruntime", "safetensors", "uvicorn"} == set(named[1].split())
