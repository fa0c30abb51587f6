"""A study's folder: what is refused, what is written down, what is kept."""

from __future__ import annotations

import json

import pytest

from lehr import LehrError
from lehr.study.folder import STUDY, as_begun, begin, read_study_folder
from lehr.study.plan import plan
from lehr.study.run import run_study
from tests.study.small import small


def test_a_folder_of_something_else_is_left_as_it_was(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LehrError, match="holds something else than a study: give an empty or a new folder"):
        run_study(small(), tmp_path)
    with pytest.raises(LehrError, match="is a file: give a folder for the study"):
        run_study(small(), tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_study_is_for_is_written_down(tmp_path):
    study = small(title="Mine", exclude_modules=[["layers.5"]], panels="scope", seed=[0], choose_seeds=0)
    run_study(study, tmp_path)
    assert json.loads((tmp_path / STUDY).read_text())["title"] == "Mine"
    assert plan(read_study_folder(tmp_path).study) == plan(study)


def test_a_folder_keeps_its_threads_however_many_workers_there_are_now(tmp_path):
    one, two = (small(threads=n) for n in (1, 2))
    assert as_begun(two, tmp_path) == two
    begin(one, tmp_path)
    assert as_begun(two, tmp_path) == one
    begin(small(threads=[1, 2]), tmp_path)
    assert as_begun(two, tmp_path) == two, "a study of several has none of its own"
    begin(small(grids=[{"row": "one", "threads": 1}, {"row": "two", "threads": 2}]), tmp_path)
    assert as_begun(two, tmp_path) == two, "nor has one whose rows differ"
    (tmp_path / STUDY).write_text("{")
    assert as_begun(two, tmp_path) == two, "what is damaged is written anew"
