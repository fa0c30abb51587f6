"""The page of a study: all of it in one file, whatever a study holds, as a browser shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lehr.report.cells import Cell
from lehr.report.html import Page, write_report
from lehr.report.summary import summarise
from lehr.report.table import cells as texts
from lehr.report.table import headings

TAUS, LENGTHS = (0.25, 0.5, 1.0), ("0.2", "0.5", "2ep")
PANELS = ("data=digits", "data=mnist")


def cell(label: str, sparsity: float, seed: int, accuracy: float, panel: str = "", **settings) -> Cell:
    scores = {"accuracy": accuracy, "nll": 1 - accuracy, "count": 100}
    density = 1 - sparsity
    result = {
        "task": "image-classification", "validation": scores, "test": scores, "parameters": 1000,
        "nonzeros": round(1000 * density), "bytes": round(4000 * density) + 100 + seed, "milliseconds": 2.0 * density + 0.1,
    }  # fmt: skip
    metrics = [
        {"epoch": e, "step": 10 * e, "validation_accuracy": accuracy * e / 3, "expected_density": density ** (e / 3)}
        for e in (1, 2, 3)
    ]
    own = {
        "data": "digits",
        "model": "lenet5",
        "method": label.split(":")[0],
        "sparsity": sparsity,
        "lr": 0.1,
        "seed": seed,
    }
    path = f"runs/{panel}-{label}-{sparsity:g}-{seed}"
    return Cell(label, sparsity, 0.1, seed, path, result, metrics, 2.0, panel, "", seed, own | settings)


def failed(one: Cell, reason: str) -> Cell:
    return replace(one, result={"failed": reason}, metrics=[], path=f"{one.path}-failed")


def study() -> list[Cell]:
    """Two panels of a dense row, two methods, and temperature annealing at three temperatures and lengths."""
    cells = []
    for p, panel in enumerate(PANELS):
        for seed in range(3):
            cells.append(cell("dense parent", 0.0, seed, 0.95 - 0.1 * p + 0.001 * seed, panel))
            for sparsity in (0.9, 0.98):
                base = 0.9 - sparsity / 5 - 0.1 * p + 0.002 * seed
                cells.append(cell("one-shot", sparsity, seed, base, panel))
                cells.append(cell("gradual", sparsity, seed, base + 0.01, panel))
                for i, tau in enumerate(TAUS):
                    for j, anneal in enumerate(LENGTHS):
                        label = f"temperature-annealing:anneal={anneal}:tau={tau:g}"
                        own = {"tau": tau, "anneal": anneal, "target": None}
                        cells.append(cell(label, sparsity, seed, base + 0.01 * i + 0.003 * j, panel, **own))
    return cells


def few() -> list[Cell]:
    """A little of it."""
    return [one for one in study() if one.panel == PANELS[0] and one.sparsity in (0.0, 0.9) and "tau" not in one.label]


def page(cells: list[Cell], **more) -> Page:
    values = {
        "title": "Which is best?", "rows": summarise(cells), "cells": cells, "asked": {"data": ["digits", "mnist"]},
        "environment": {"processor": "an abacus", "torch": "2.13"}, "command": "lehr study run x.yaml", "planned": len(cells),
        "failures": [one for one in cells if one.failed],
    }  # fmt: skip
    return Page(**{**values, **more})


class Parsed(HTMLParser):
    """Tags with their attributes, headings, and the cells of tables; raises where tags do not match."""

    VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {name: [] for name in ("h1", "h2", "h3", "td", "th", "li", "pre", "dd", "p")}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            if tag in self.texts:
                self.texts[tag][-1] += data

    def count(self, tag: str) -> int:
        return Counter(name for name, _ in self.tags)[tag]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    cells = study()
    cells += [failed(cell("gradual", 0.98, 3, 0.0, PANELS[0]), "the loss became inf at step 7")]
    return write_report(tmp_path_factory.mktemp("page") / "report.html", page(cells))


@pytest.fixture(scope="module")
def parsed(whole) -> Parsed:
    return Parsed(whole.read_text())


# -- what is in it ------------------------------------------------------------------------------------------


def test_it_is_one_file_that_needs_nothing_from_elsewhere(whole, parsed):
    assert [path.name for path in whole.parent.iterdir()] == ["report.html"]
    assert not {tag for tag, _ in parsed.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), "code"
            if name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
                assert str(value).startswith(("#", "data:image/png;base64,")), f"{tag} {name}={value}"
            assert "url(" not in str(value).replace("url(#", ""), value
    text = whole.read_text()
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    names = re.findall(r"https?://[^\s\"'<>)]+", text)
    assert {name.split("/")[2] for name in names} <= {"www.w3.org", "purl.org", "creativecommons.org", "matplotlib.org"}


def test_it_has_all_its_sections(parsed):
    assert parsed.texts["h1"] == ["Which is best?"]
    assert [h for h in parsed.texts["h2"] if h in PANELS] == list(PANELS)
    for heading in (*PANELS, "Runs that failed", "How it was made", "Where it was measured"):
        assert parsed.texts["h2"].count(heading) == 1, heading
    for heading in (
        "Mean rank over sparsities and seeds",
        "Accuracy against sparsity",
        "Accuracy against bytes on disk",
        "Accuracy against time of one inference",
        "Temperature against length",
        "On the way to 90 % sparsity",
        "On the way to 98 % sparsity",
    ):
        assert parsed.texts["h3"].count(heading) == len(PANELS), heading
    # accuracy, two costs, two heat maps and two sets of curves
    assert parsed.count("svg") == len(PANELS) * (1 + 2 + 2 + 2)
    assert "lehr study run x.yaml" in parsed.texts["pre"]
    assert '"digits"' in parsed.texts["pre"][1]
    assert "an abacus" in parsed.texts["dd"]


def test_every_row_is_there_as_in_any_other_table(parsed):
    found = set(parsed.texts["td"])
    rows = summarise(study())
    assert len(rows) == 2 * (1 + 2 * (2 + 9))
    for row in rows:
        assert set(texts(row, headings(rows))) - {""} <= found | {"3", "2"}
    assert parsed.texts["th"].count("vs one-shot [95 % CI]") == 2


def test_what_failed_is_told(parsed):
    assert parsed.texts["li"][-1] == "gradual, 98 %, lr 0.1, seed 3: the loss became inf at step 7"
    assert "3 (1 failed)" in parsed.texts["td"]
    assert "the loss became inf at step 7" in parsed.texts["td"]


def test_the_same_study_gives_the_same_bytes(tmp_path):
    one, other = (write_report(tmp_path / name, page(few())).read_bytes() for name in "ab")
    assert one == other


def headings_of(cells: list[Cell], folder: Path, **more) -> list[str]:
    return Parsed(write_report(folder / "page.html", page(cells, **more)).read_text()).texts["h3"]


def test_what_was_not_measured_has_no_plot(tmp_path):
    plain = [replace(one, result={k: v for k, v in one.result.items() if k not in ("bytes", "milliseconds")})
             for one in few()]  # fmt: skip
    assert not [h for h in headings_of(plain, tmp_path) if "bytes" in h or "inference" in h]
    some = [*plain[:-1], few()[-1]]
    assert "Accuracy against bytes on disk" in headings_of(some, tmp_path)


def test_a_heat_map_needs_several_temperatures_and_lengths(tmp_path):
    def grid(*places: tuple[float, str]) -> list[Cell]:
        cells = []
        for tau, anneal in places:
            one = cell(f"temperature-annealing:anneal={anneal}:tau={tau:g}", 0.9, 0, 0.5 + tau / 10)
            result = {name: one.result[name] for name in ("validation", "test", "parameters", "nonzeros")}
            own = one.settings | {"tau": tau, "anneal": anneal, "target": None}
            cells.append(replace(one, result=result, metrics=[], settings=own))
        return cells

    title = "Temperature against length"
    whole = grid((0.25, "0.2"), (0.5, "0.2"), (0.25, "0.5"), (0.5, "0.5"))
    assert title in headings_of(whole, tmp_path)
    assert title not in headings_of(grid((0.25, "0.2"), (0.5, "0.2")), tmp_path), "one length"
    assert title not in headings_of(grid((0.5, "0.2"), (0.5, "0.5")), tmp_path), "one temperature"
    assert title in headings_of(whole[:3], tmp_path), "a place may be empty"
    assert title not in headings_of([one for one in whole if one.settings["tau"] == 0.25], tmp_path)
    moving = [replace(one, settings=one.settings | {"target": "moving"}, label=f"{one.label}:m") for one in whole[:2]]
    assert title not in headings_of([*moving, *whole[2:]], tmp_path), "no two of one target differ in both"


def test_the_cells_of_a_heat_map_hold_what_the_rows_do(tmp_path):
    cells = [one for one in study() if one.panel == PANELS[0] and one.sparsity == 0.9 and "tau" in one.label]
    text = write_report(tmp_path / "page.html", page(cells)).read_text()
    heat_map = next(svg for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if "length of the annealing" in svg)
    for row in summarise(cells):
        assert f">{row.accuracy:.2f}<" in heat_map
    for axis in ("temperature", "90 %, fixed target", *(f"{tau:g}" for tau in TAUS), *LENGTHS):
        assert f">{axis}<" in heat_map


def test_one_epoch_is_no_curve(tmp_path):
    assert [h for h in headings_of(few(), tmp_path) if "On the way" in h]
    short = [replace(one, metrics=one.metrics[:1]) for one in few()]
    assert not [h for h in headings_of(short, tmp_path) if "On the way" in h]


def test_epochs_that_were_not_judged_are_left_out_of_curves(tmp_path):
    def rarely(one: Cell, *judged: int) -> Cell:
        lines = [line | ({} if line["epoch"] in judged else {"validation_accuracy": None}) for line in one.metrics]
        return replace(one, metrics=lines)

    whole, on_the_way = [cell(label, 0.9, 0, 0.9) for label in ("one-shot", "gradual")], "On the way to 90 % sparsity"
    assert on_the_way in headings_of([rarely(one, 1, 3) for one in whole], tmp_path / "some")
    assert on_the_way in headings_of([whole[0], rarely(whole[1])], tmp_path / "one")
    assert on_the_way not in headings_of([rarely(one, 3) for one in whole], tmp_path / "end")


def test_language_is_judged_by_bits(tmp_path):
    def bits(one: Cell) -> Cell:
        scores = {**one.result["test"], "bits_per_character": 2 - one.result["test"]["accuracy"]}
        return replace(one, result={**one.result, "test": scores, "task": "language-modelling"})

    text = write_report(tmp_path / "page.html", page([bits(one) for one in few()])).read_text()
    found = Parsed(text)
    assert "Bits per character against sparsity" in found.texts["h3"]
    assert "Bits per character against bytes on disk" in found.texts["h3"]
    assert "bits/char" in found.texts["th"]
    assert "Accuracy against sparsity" not in found.texts["h3"]


def test_a_study_that_has_not_ended_says_so(tmp_path):
    cells = few()
    text = write_report(tmp_path / "page.html", page(cells, planned=len(cells) + 5)).read_text()
    assert f"{len(cells)} of {len(cells) + 5} runs have ended" in " ".join(text.split())
    assert "runs have ended" not in write_report(tmp_path / "page.html", page(cells)).read_text()


def test_a_parent_that_several_panels_show_has_ended_once(tmp_path):
    parent = cell("dense parent", 0.0, 0, 0.9)
    cells = [replace(parent, panel="scope=global"), replace(parent, panel="scope=layer"), cell("one-shot", 0.9, 0, 0.8)]
    text = write_report(tmp_path / "page.html", page(cells, planned=3)).read_text()
    assert "2 of 3 runs have ended" in " ".join(text.split())


@pytest.mark.parametrize(
    "cells", [[], [failed(cell("one-shot", 0.9, 0, 0.0), "nan")], [cell("dense parent", 0.0, 0, 0.9)]]
)
def test_next_to_nothing_is_a_page_too(tmp_path, cells):
    found = Parsed(write_report(tmp_path / "page.html", page(cells)).read_text())
    assert found.texts["h1"] == ["Which is best?"]
    assert not [h for h in found.texts["h3"] if "sparsity" in h]


def test_names_that_look_like_markup_are_only_names(tmp_path):
    evil = '<script>alert("x")</script>&<b>'
    cells = [
        cell("one-shot", 0.9, 0, 0.8, f"data={evil}", data=evil),
        cell(f"gradual:score={evil}", 0.9, 0, 0.8, f"data={evil}", data=f"{evil}2", score=evil),
        failed(cell("gradual", 0.9, 1, 0.0, f"data={evil}"), evil),
    ]
    more = {"title": evil, "asked": {"title": evil}, "environment": {"processor": evil}, "command": evil}
    found = Parsed(write_report(tmp_path / "page.html", page(cells, **more)).read_text())
    assert not found.count("script")
    assert not found.count("b")
    assert found.texts["h1"] == [evil]
    assert f"data={evil}" in found.texts["h2"]
    assert evil in found.texts["dd"]
    assert any(text.endswith(evil) for text in found.texts["li"])


# -- in a browser -------------------------------------------------------------------------------------------


def chromium(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("NO CHROMIUM: install it to see whether a browser shows the page")
    options = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}",
    )  # fmt: skip
    return subprocess.run([browser, *options, *words], capture_output=True, text=True, timeout=120, check=True)


def test_a_browser_understands_it(whole, parsed, tmp_path):
    shown = Parsed(chromium(tmp_path, "--dump-dom", whole.as_uri()).stdout)
    for tag in ("table", "tr", "td", "th", "svg", "h1", "h2", "h3", "figure", "details", "li", "dl"):
        assert shown.count(tag) == parsed.count(tag) > 0, tag
    assert shown.texts["td"] == parsed.texts["td"]


def test_a_browser_shows_it(whole, tmp_path):
    picture = tmp_path / "page.png"
    chromium(tmp_path, f"--screenshot={picture}", "--window-size=1100,6000", "--hide-scrollbars", whole.as_uri())
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    assert image.size == (1100, 6000)
    colours = {colour for _, colour in image.getcolors(2**24)}
    assert len(colours) > 100, "not blank"
    for name, colour in (("a method's line", (0, 114, 178)), ("the marked rows", (213, 94, 0)), ("text", (28, 28, 28))):
        assert colour in colours, name
    for top in range(0, 3000, 500):
        part = image.crop((0, top, 1100, top + 500))
        assert len(part.getcolors(2**24)) > 1, f"nothing from {top} on"
    white = sum(n for n, colour in image.getcolors(2**24) if colour == (255, 255, 255))
    assert 0.5 < white / (1100 * 6000) < 0.99
