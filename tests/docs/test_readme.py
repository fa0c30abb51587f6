"""What the README shows a newcomer, run as it stands."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from lehr import Mask
from lehr.data import load

README = Path(__file__).parents[2] / "README.md"


def section(title: str) -> str:
    text = README.read_text()
    start = text.index(f"## {title}\n")
    return text[start : text.find("\n## ", start + 1)]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the newcomer's file and weights, trained a little."""
    mine, loop = blocks(section("Your own network, your own weights"), "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (tmp_path / "mine.py").write_text(mine)
    scope: dict = {}
    exec(mine, scope)
    torch.manual_seed(0)
    model = scope["net"](10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for images, labels in loader():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    torch.save(model.state_dict(), "weights.pt")
    return tmp_path, loop


def loader() -> list[tuple[torch.Tensor, torch.Tensor]]:
    data = load("digits")
    images = data.prepare.judged(data.train.inputs)
    return list(zip(images.split(64), data.train.targets.split(64), strict=True))


def test_the_example_is_short():
    text = section("Your own network, your own weights")
    lines = [
        line for block in blocks(text, "python") + blocks(text, "sh") for line in block.splitlines() if line.strip()
    ]
    assert len(lines) < 25


def test_a_newcomers_network_goes_through_select_tune_and_evaluate(place, monkeypatch, capfd):
    from lehr.cli.main import run

    (commands,) = blocks(section("Your own network, your own weights"), "sh")
    for line in commands.strip().splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as end:
            run()
        assert not end.value.code, line
    printed = capfd.readouterr().out
    for text in ("one layer cut", "90 % sparse, gradual", "calibration error", "if zeros were skipped"):
        assert text in printed
    assert Mask.load("runs/mine/mask.safetensors").sparsity == pytest.approx(0.9, abs=1e-3)


def test_the_same_in_a_loop_of_ones_own(place):
    _, loop = place
    scope: dict = {"loader": loader()}
    exec(loop, scope)
    data = load("digits")
    assert Mask.from_zeros(scope["model"]).sparsity == pytest.approx(0.9, abs=1e-3)
    with torch.no_grad():
        right = scope["model"](data.prepare.judged(data.test.inputs)).argmax(1) == data.test.targets
    assert right.double().mean() > 0.9
