"""The page of a network: its text, and what it does in a headless Chromium."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.loading.artefacts import read_integer_model
from qbnnc.support.errors import UserError
from tests.page import browser
from tools.page.__main__ import main
from tools.page.contents import Group, Shades, contents, page, side_lengths
from tools.page.wasm import missing_tools

CLASSES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
STYLE = (Path(__file__).parents[2] / "tools" / "page" / "page.css").read_text()
needs_compiler = pytest.mark.skipif(
    bool(missing_tools()), reason=f"needs {' and '.join(missing_tools())}"
)
needs_browser = pytest.mark.skipif(browser.PROGRAM is None, reason="needs chromium")


@pytest.fixture(scope="module")
def written(artefacts: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's page, with two garments and a digit to choose from."""
    file = tmp_path_factory.mktemp("page") / "index.html"
    main([
        str(artefacts / "lenet.qbnn"), "-o", str(file), "--title", "Garments & <digits>",
        "--classes", CLASSES,
        "--images", "Garments", f"{demo}/fashion.npz:x", "2=Trouser,5=Trouser again",
        "--images", "Digits", f"{demo}/fashion.npz:ood", "0",
    ])  # fmt: skip
    return file


@pytest.fixture(scope="module")
def model(artefacts: Path) -> Model:
    return read_integer_model(artefacts / "lenet.qbnn")


@pytest.fixture(scope="module")
def tab(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    """The page in a browser; `predictions` are those that it has made."""
    with browser.opened(tmp_path_factory.mktemp("profile")) as made:
        made.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="""var predictions = []
            document.addEventListener("prediction", (e) => predictions.push(e.detail))""",
        )
        made.show(1280, 900)
        made.open(written)
        made.evaluate("""new Promise((go) => {
            const waiting = setInterval(() => {
                if (predictions.length) go(clearInterval(waiting))
            }, 20)
        })""")
        assert made.evaluate("document.title") == "Garments & <digits>"
        yield made


def last(tab: browser.Tab, script: str) -> dict[str, NDArray[np.float32]]:
    """The prediction that a script makes the page show, as float32 bits."""
    words = tab.evaluate(f"""new Promise((found) => {{
        document.addEventListener("prediction", ({{ detail }}) => {{
            const words = (numbers) => [...new Uint32Array(Float32Array.from(numbers).buffer)]
            found({{ samples: detail.samples.map(words), probabilities: words(detail.probabilities),
                entropy: words([detail.entropy]),
                mutual_information: words([detail.mutualInformation]) }})
        }}, {{ once: true }})
        {script}
    }})""")
    return {name: np.array(value, np.uint32).view(np.float32) for name, value in words.items()}


def slide(name: str, value: int) -> str:
    return f"""{{ const slider = document.getElementById("{name}")
        slider.value = {value}; slider.dispatchEvent(new Event("input")) }}"""


@needs_compiler
@needs_browser
@pytest.mark.parametrize(("image", "seed", "count"), [(0, 7, 20), (1, 93, 1), (2, 8, 57)])
def test_samples_are_the_oracles(
    tab: browser.Tab,
    model: Model,
    fashion: dict[str, NDArray[np.uint8]],
    image: int,
    seed: int,
    count: int,
) -> None:
    choose = f'document.querySelectorAll(".images button")[{image}].click()'
    found = last(tab, slide("samples", count) + slide("seed", seed) + choose)
    rows = (fashion["x"][2], fashion["x"][5], fashion["ood"][0])
    x = rows[image][np.newaxis].astype(np.float32)
    expected = oracle_prediction(model, x, samples=count, seed=seed)
    samples = expected["samples"].reshape(count, -1)
    assert np.array_equal(found["samples"].view(np.uint32), samples.view(np.uint32))
    for name in ("probabilities", "entropy", "mutual_information"):
        np.testing.assert_allclose(found[name], expected[name].ravel(), rtol=1e-5, atol=1e-6)
    best = CLASSES.split(",")[int(expected["probabilities"].argmax())]
    assert tab.evaluate('document.getElementById("winner").textContent') == best
    ticks = tab.evaluate('document.querySelectorAll("tbody path")[0].getAttribute("d")')
    assert ticks.count("M") == count


@needs_compiler
@needs_browser
def test_a_drawing_is_what_the_network_gets(tab: browser.Tab, model: Model) -> None:
    tab.evaluate("scrollTo(0, 0)")
    x, y, width = tab.evaluate("""(({ x, y, width }) => [x, y, width])(
        document.getElementById("canvas").getBoundingClientRect())""")
    last(tab, slide("samples", 3) + 'document.getElementById("clear").click()')
    assert shades(tab).max() == 0
    tab.mouse("mousePressed", x + 0.3 * width, y + 0.5 * width)
    tab.mouse("mouseMoved", x + 0.7 * width, y + 0.5 * width)
    tab.mouse("mouseReleased", x + 0.7 * width, y + 0.5 * width)
    found = last(tab, slide("seed", 1))
    drawn = shades(tab)
    rows, columns = np.nonzero(drawn == 255)
    assert set(rows.tolist()) <= {12, 13, 14, 15}
    assert (columns.min(), columns.max()) == (pytest.approx(8, abs=1), pytest.approx(19, abs=1))
    expected = oracle_prediction(
        model, drawn[np.newaxis, np.newaxis].astype(np.float32), samples=3, seed=1
    )
    samples = expected["samples"].reshape(3, -1)
    assert np.array_equal(found["samples"].view(np.uint32), samples.view(np.uint32))
    assert tab.evaluate('document.getElementById("caption").textContent') == "Your drawing"


@needs_compiler
@needs_browser
def test_a_keyboard_draws_and_erases(tab: browser.Tab) -> None:
    tab.evaluate('document.getElementById("clear").click()')
    tab.evaluate('document.getElementById("canvas").focus()')
    for _ in range(2):
        tab.key("keyDown", " ")
        for name in ("ArrowRight", "ArrowRight", "ArrowDown"):
            tab.key("keyDown", name)
        tab.key("keyUp", " ")
        if tab.evaluate('document.getElementById("erase").ariaPressed') == "true":
            break
        assert np.count_nonzero(shades(tab)) > 9
        tab.evaluate('document.getElementById("erase").click()')
        for name in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
            tab.key("keyDown", name)
    assert shades(tab).max() < 128
    tab.evaluate('document.getElementById("erase").click()')
    tab.key("keyDown", "Delete")
    assert shades(tab).max() == 0


def shades(tab: browser.Tab) -> NDArray[np.uint8]:
    """The drawing, [28, 28]."""
    data = tab.evaluate("""[...document.getElementById("canvas").getContext("2d")
        .getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)""")
    return np.array(data, np.uint8).reshape(28, 28)


@needs_compiler
@needs_browser
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(tab: browser.Tab, width: int) -> None:
    tab.show(width, 800)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    small = tab.evaluate("""[...document.querySelectorAll("button, input")].filter(
        (e) => e.getBoundingClientRect().height < 44).length""")
    assert small == 0


@needs_compiler
@needs_browser
def test_it_asks_the_network_for_nothing(tab: browser.Tab, written: Path) -> None:
    tab.evaluate("new Promise((go) => setTimeout(go, 500))")  # the time is measured when idle
    assert "takes" in tab.evaluate('document.getElementById("time").textContent')
    asked = [
        event["params"]["request"]["url"]
        for event in tab.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert {url for url in asked if not url.startswith("data:")} == {written.as_uri()}
    assert [
        e for e in tab.events if e["method"] in {"Runtime.exceptionThrown", "Log.entryAdded"}
    ] == []


@needs_compiler
def test_the_file_is_small_and_whole(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert len(gzip.compress(text.encode(), 9)) < 40_000
    assert "<h1>Garments &amp; &lt;digits></h1>" in text
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "{{" not in text


def variables(scheme: str) -> dict[str, NDArray[np.float64]]:
    """The colours of page.css as sRGB [3] in 0..1; `scheme` is "light" or "dark"."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    text = blocks[("light", "dark").index(scheme)]
    found = {}
    for name, value in re.findall(r"--(\w+): #(\w+);", text):
        digits = value if len(value) == 6 else "".join(2 * digit for digit in value)
        found[name] = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return found


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """WCAG 2.2's contrast ratio, from relative luminances."""

    def luminance(colour: NDArray[np.float64]) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white() -> None:
    assert contrast(np.zeros(3), np.ones(3)) == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(scheme: str) -> None:
    """WCAG AA: 4.5 for text, 3 for what is seen and not read."""
    colours = variables(scheme)
    for ground in ("page", "card"):
        for text in ("text", "soft", "accent", "failure"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["control"], colours[ground]) >= 3
    for shape, ground in (
        ("disagreement", "track"), ("ambiguity", "track"), ("tick", "bar"), ("tick", "track"),
    ):  # fmt: skip
        assert contrast(colours[shape], colours[ground]) >= 3, (shape, ground)


def test_shades_of_numbers() -> None:
    pixels = np.array([-1.0, 0.0, 1.0], np.float32).reshape(3, 1, 1, 1)
    found = Shades.of([Group("a", ("", "", ""), pixels)])
    assert (found.black, found.step) == (-1.0, 2 / 255)
    assert found.of_pixels(pixels).ravel().tolist() == [0, 128, 255]
    assert Shades.of([]) == Shades(0.0, 1.0)


def test_text_cannot_end_the_script(model: Model) -> None:
    fields = contents(model, b"", "</script>", [], [])
    made = page(fields, "</title><b>")
    assert made.count("</script>") == 2
    assert made.count("</title>") == 1


def test_what_is_no_page(model: Model, artefacts: Path, demo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the input \[10\]|task='regression'"):
        side_lengths(read_integer_model(artefacts / "mlp.qbnn"))
    with pytest.raises(UserError, match="3 names of classes: the network has 10"):
        contents(model, b"", "", ["a", "b", "c"], [])
    group = Group("a", ("b",), np.zeros((1, 1, 8, 8), np.uint8))
    with pytest.raises(UserError, match=r"images of \[1, 8, 8\]: the network takes \[1, 28, 28\]"):
        contents(model, b"", "", [], [group])
    with pytest.raises(SystemExit, match=r"row '200': .* has rows 0 to 199"):
        main([
            str(artefacts / "lenet.qbnn"), "-o", str(tmp_path / "a.html"),
            "--images", "a", f"{demo}/fashion.npz:x", "200=Bag",
        ])  # fmt: skip
    assert list(tmp_path.iterdir()) == []
