"""What a user's name of data means."""

from __future__ import annotations

import pytest

from lehr import LehrError
from lehr.data.sources import Source, find, reading, sources
from tests.data.folders import class_folders


def test_names_of_ours_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert find("digits") is sources["digits"]
    assert {name: sources[name].kind for name in sources} == {
        "digits": "scans",
        "mnist": "images",
        "fashion_mnist": "images",
        "cifar10": "images",
        "cifar100": "images",
        "sst2": "sentences",
        "tiny_shakespeare": "characters",
    }


def test_the_hub_folders_and_texts(tmp_path, monkeypatch):
    assert find("hub:owner/name") == Source("", "owner/name", "images", augment=True)
    class_folders(tmp_path / "pets", count=1)
    assert find(str(tmp_path / "pets")) == Source("", str(tmp_path / "pets"), "images", augment=True)
    (tmp_path / "poem.txt").write_text("a")
    assert find(str(tmp_path / "poem.txt")) == Source("", str(tmp_path / "poem.txt"), "characters")
    (tmp_path / "README").write_text("a")
    assert find(str(tmp_path / "README")).kind == "characters", "any file is read as a text"
    monkeypatch.chdir(tmp_path)
    assert find("pets") == find("./pets") == find(str(tmp_path / "pets")), "where it lies, not how it was called"
    assert find("poem.txt").location() == str(tmp_path / "poem.txt")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cifar_10", "there is no data set 'cifar_10': did you mean 'cifar10'"),
        ("CIFAR10", "there is no data set 'CIFAR10'"),
        ("shakespeare", "did you mean 'tiny_shakespeare'"),
        ("sst", "did you mean 'sst2'"),
        ("", "there is no data set ''"),
        ("poem.txt", "there is no text file poem.txt: correct the path"),
        ("./pets", "there is no folder or file ./pets: correct the path, or write hub:./pets for the hub"),
        ("owner/name", "there is no folder or file owner/name: correct the path, or write hub:owner/name for the hub"),
    ],
)
def test_names_of_nothing_are_told_in_one_sentence(tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LehrError) as told:
        find(name)
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_lehr_data_is_a_folder_of_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("LEHR_DATA", raising=False)
    assert sources["mnist"].location() == "ylecun/mnist"
    monkeypatch.setenv("LEHR_DATA", str(tmp_path))
    with pytest.raises(LehrError, match="has no folder mnist: correct it, or unset it to use the hub"):
        sources["mnist"].location()
    (tmp_path / "mnist").mkdir()
    assert sources["mnist"].location() == str(tmp_path / "mnist")
    assert find("hub:owner/name").location() == "owner/name", "the hub is meant, whatever LEHR_DATA says"


@pytest.mark.parametrize(
    ("name", "location", "remedy"),
    [
        ("mnist", "here", "set LEHR_DATA to a folder that holds it"),
        ("pets", "/", "correct its files"),
        ("hub:a/b", "a/b", "check the name and the connection"),
    ],
)
def test_what_a_library_raises_becomes_one_sentence(name, location, remedy):
    import datasets

    shown = datasets.is_progress_bar_enabled()
    for error, reason in ((KeyError("a"), "KeyError: 'a'"), (RuntimeError(), "RuntimeError")):
        with pytest.raises(LehrError) as told, reading(name, location):
            assert not datasets.is_progress_bar_enabled()
            raise error
        assert str(told.value) == f"the data set {name} cannot be read from {location} ({reason}): {remedy}"
    with pytest.raises(LehrError, match="^our own$"), reading(name, location):
        raise LehrError("our own")
    assert datasets.is_progress_bar_enabled() == shown
