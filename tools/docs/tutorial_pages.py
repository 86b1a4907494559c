"""An executed notebook as a page of the site: prose, code, what was printed, and pictures."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterator

from nbformat import NotebookNode

from tools.docs.notebook import SHELL


def page(notebook: NotebookNode, file: str) -> str:
    """Markdown; `file` is the notebook's name, which the page offers for download."""
    parts = [part for cell in notebook.cells for part in _parts(cell)]
    title, _, rest = parts[0].partition("\n")
    link = f'[Notebook]({file}){{ download="{file}" }} with the outputs below.'
    return "\n\n".join([title, link, rest.strip(), *parts[1:]]) + "\n"


def _parts(cell: NotebookNode) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
        return
    shell = cell.source.startswith(SHELL)
    yield _fenced(cell.source.removeprefix(SHELL), "sh" if shell else "python")
    for output in cell.outputs:
        yield _output(output, cell.metadata.get("figure", ""))


def _output(output: NotebookNode, figure: str) -> str:
    if output.output_type == "stream":
        return _fenced(output.text.rstrip(), "text", " .printed")
    data = output.data
    if "image/svg+xml" in data:
        return _picture(data["image/svg+xml"], figure)
    return _fenced(str(data["text/plain"]), "text", " .printed")


def _picture(svg: str, figure: str) -> str:
    """An image in the page itself, on white in either scheme."""
    encoded = b64encode(svg[svg.index("<svg") :].encode()).decode()
    alt = html.escape(figure, quote=True)
    return (
        f'<figure class="picture"><img alt="{alt}" src="data:image/svg+xml;base64,{encoded}">'
        f"<figcaption>{html.escape(figure)}</figcaption></figure>"
    )


def _fenced(text: str, language: str, more: str = "") -> str:
    return f"``` {{ .{language}{more} }}\n{text}\n```"
