"""The pages of the documentation: every example runs, every link leads somewhere, every option exists."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
import typer

from lehr.cli.main import app, run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DESCRIPTIONS = ("architecture.md", "overhead.md")  # explain, and have no examples
PAGES = sorted(page.name for page in DOCS.glob("*.md") if page.name not in DESCRIPTIONS)
LINKED = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "experiments" / "README.md"]
EXECUTED = ("python", "sh", "yaml")
# Of accelerate, torchrun, tensorboard, mlflow and our benchmarks.
FOREIGN = {
    "--only",
    "--num_processes",
    "--multi_gpu",
    "--module",
    "--nproc_per_node",
    "--cpu",
    "--logdir",
    "--backend-store-uri",
}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]*")
FILE = re.compile(r"`?([\w.-]+)`?:")
COMMENT = re.compile(r"\s{2}#\s*(.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins at, and the file it is written to, if any."""

    language: str
    text: str
    line: int
    file: str | None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        name = FILE.fullmatch(before)
        yield Block(match[1], match[2], text.count("\n", 0, match.start()) + 2, name[1] if name else None)


def commands(block: Block) -> list[tuple[list[str], int]]:
    """The lines of a block that call `lehr`, as words, each with the exit code that its comment asks for."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("lehr "):
            code = re.search(r"# exits with (\d+)", line)
            found.append((shlex.split(line, comments=True), int(code[1]) if code else 0))
    return found


def saying(block: Block, page: str, said: list[str]) -> Any:
    """A `print` that holds what is printed to the comment behind it."""
    lines = block.text.splitlines()

    def tell(*values: object) -> None:
        text = " ".join(map(str, values))
        said.append(text)
        frame: FrameType = sys._getframe(1)
        comment = COMMENT.search(lines[frame.f_lineno - block.line])
        if frame.f_code.co_filename == page and comment:
            assert text == comment[1], f"{page}, line {frame.f_lineno} says otherwise"

    return tell


@pytest.fixture
def shell(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder of the page's own, no data but its own, no network, and the threads as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LEHR_DATA", raising=False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are small, and the machine may be busy
    yield tmp_path
    torch.set_num_threads(before)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page, shell, monkeypatch, capfd):
    names: dict[str, Any] = {"__name__": "__main__"}
    said: list[str] = []
    for block in blocks(DOCS / page):
        if block.language == "python":
            names["print"] = saying(block, page, said)
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)
        elif block.language == "yaml" and block.file:
            (shell / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            for words, expected in commands(block):
                monkeypatch.setattr(sys, "argv", words)
                code = 0
                try:
                    run()
                except SystemExit as stop:
                    code = int(stop.code or 0)
                shown = capfd.readouterr()
                assert code == expected, f"{page}: {shlex.join(words)} exited with {code}\n{shown.out}{shown.err}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_an_example_that_runs(page):
    found = list(blocks(DOCS / page))
    assert any(block.language in EXECUTED for block in found)
    assert {block.language for block in found} <= {*EXECUTED, "console", "text"}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    for address in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = address.partition("#")
        if "://" in path:
            continue
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), f"{page.name} links to {address}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {address}"


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options() -> dict[str, set[str]]:
    """The options of every command, by its name; those of a group's commands by both names (``study run``)."""
    group: Any = typer.main.get_command(app)
    own = {"--help", "--version"}
    every = dict(group.commands)
    for name, command in group.commands.items():
        every |= {f"{name} {inner}": below for inner, below in getattr(command, "commands", {}).items()}
    return {
        name: own | {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in every.items()
    }


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page):
    known = options()
    text = (DOCS / page).read_text(encoding="utf-8")
    unknown = set(OPTION.findall(text)) - set().union(*known.values()) - FOREIGN
    assert not unknown, f"{page} names options that do not exist"
    named = set(re.findall(r"`lehr (study [a-z]+|[a-z]+)", text)) - known.keys()
    assert not named, f"{page} names commands that do not exist"
    for block in blocks(DOCS / page):
        for words, _ in commands(block):
            name = " ".join(words[1:3]) if " ".join(words[1:3]) in known else words[1]
            assert name in known, f"{page} calls lehr {name}"
            wrong = {word for word in words if word.startswith("--")} - known[name]
            assert not wrong, f"{page}: lehr {name} has no {', '.join(sorted(wrong))}"
