"""The messages of all refusals, read from the sources that raise them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ERRORS = ("CompileError", "FileError", "InputError", "UserError", "TextError", "DecodeError")
OWN = ("Diverged", "DistributionError", "ModelError", "NoNetworkError")
FOLDERS = {
    "frontend": "Reading a network",
    "passes": "Compiling",
    "ir": "Graphs and files",
    "backends": "Writing .onnx and .c",
    "runtime": "Running",
    "tools/qbnnc": "Commands and Python",
    "tools/study": "Studies",
}


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """One refusal: its class, its text with the holes as names, its remedy, and the file."""

    text: str
    remedy: str
    error: str
    file: str


def messages(folder: str) -> list[Message]:
    """The messages that the files of a folder give, in the order of their text."""
    found = set[Message]()
    for file in sorted((ROOT / folder).rglob("*.py")):
        if "paper" not in file.parts:
            found |= {*_of_file(file)}
    return sorted(found, key=lambda message: message.text.lower())


def _of_file(file: Path) -> Iterator[Message]:
    name = file.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called in ERRORS + OWN and node.args:
            remedy = next((k.value for k in node.keywords if k.arg == "remedy"), None)
            text = _template(node.args[0])
            if any(character.isalpha() for character in text.replace("…", "")):
                yield Message(text, _template(remedy) if remedy else "", called, name)


def _template(node: ast.expr) -> str:
    """The text of an expression, with … in the place of what is known only when it is raised."""
    match node:
        case ast.Constant(value=str(text)):
            return " ".join(text.split()) if text.strip() else text
        case ast.JoinedStr(values=values):
            parts = [v.value if isinstance(v, ast.Constant) else "…" for v in values]
            return " ".join("".join(map(str, parts)).split())
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{_template(left)} {_template(right)}".strip()
        case _:
            return "…"


def catalogue() -> str:
    """Markdown: a table for each layer."""
    return "\n\n".join(_section(folder, title) for folder, title in FOLDERS.items())


def _section(folder: str, title: str) -> str:
    rows = [
        f"| {_cell(message.text)} | {_cell(message.remedy)} | {message.error} |"
        for message in messages(folder)
    ]
    head = f"### {title}\n\n| message | remedy | error |\n|---|---|---|\n"
    return head + "\n".join(rows)


def _cell(text: str) -> str:
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(old, new)
    return text.replace("[", "\\[")


if __name__ == "__main__":
    print(catalogue())
