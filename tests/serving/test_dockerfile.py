"""The Dockerfile, by its instructions."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tools" / "serving" / "Dockerfile"


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
    assert "/source[onnx,serving]" in of["RUN"]


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


def test_the_image_holds_only_what_runs() -> None:
    """Neither torch nor onnx: the extras that are installed do not name them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in ("onnx", "serving"):
        (line,) = re.findall(rf"^{extra} = (\[.*?\])", text, re.MULTILINE)
        names = {re.split(r"[>=]", requirement)[0] for requirement in json.loads(line)}
        assert names <= {"onnxruntime", "fastapi", "uvicorn"}
