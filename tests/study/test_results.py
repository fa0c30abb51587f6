"""One row for each run, in a file that is enough."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lehr import LehrError
from lehr.report.html import write_report
from lehr.study.findings import Findings
from lehr.study.folder import STUDY, read_study_folder
from lehr.study.plan import plan
from lehr.study.results import FILE, cells_of, gather, read_results, write_results
from lehr.study.run import missing, run_study
from tests.study.small import bits, small, table

ASKED = {"method": ["one-shot", "gradual"], "seed": [0, 1], "tune_lr": [0.05, 1e8]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A study of two parents and eight children, of which the four at a rate of 1e8 diverge."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run_study(small(**ASKED), folder)
    return folder


@pytest.fixture
def alone(whole, tmp_path) -> Path:
    """The description and the results of that study, and nothing else."""
    folder = tmp_path / "alone"
    folder.mkdir()
    for name in (STUDY, FILE):
        shutil.copy(whole / name, folder / name)
    return folder


def plain(records: dict) -> dict:
    """A column that other rows have is None in a row that has it not."""
    return {name: {k: v for k, v in record.items() if v is not None} for name, record in records.items()}


def told(found: Findings, page: Path) -> str:
    """All that is said of a study, times too, but for where its runs lie."""
    write_report(page, found.page("x"))
    return page.read_text()


# -- back and forth -----------------------------------------------------------------------------------------


def test_what_is_written_is_read(whole, tmp_path):
    runs = plan(small(**ASKED))
    records = gather(runs, whole, {})
    assert {record["status"] for record in records.values()} == {"done", "failed"}
    write_results(tmp_path, records.values())
    assert plain(read_results(tmp_path)) == plain(records)
    assert list(read_results(tmp_path)) == [run.name for run in runs], "in the order given"


def test_awkward_values_are_read_as_they_were_written(tmp_path):
    base = {
        "kind": "tune", "parent": None, "folder": "x", "status": "failed", "final": True, "seconds": None,
        "settings": {"tau": None, "modules": ["ü", "\n"]}, "environment": {"processor": "an “abacus”"},
    }  # fmt: skip
    failed = {**base, "name": "f", "result": {"failed": "the loss became nan: “1e8” ✗"}, "metrics": []}
    numbers = [
        {"validation_accuracy": 1 / 3, "expected_density": 5e-324, "loss": math.inf, "many": 2**63 + 1, "note": None}
    ]
    other = {**base, "name": "g", "result": {"failed": ""}, "metrics": numbers, "seconds": 0.1 + 0.2, "nonzeros": 7}
    write_results(tmp_path, [failed, other])
    assert plain(read_results(tmp_path)) == plain({"f": failed, "g": other})


def test_a_study_without_a_run_that_has_ended(tmp_path):
    assert read_results(tmp_path) == {}
    write_results(tmp_path, [])
    assert read_results(tmp_path) == {}


def test_anyone_can_read_the_columns(whole):
    rows = pq.read_table(whole / FILE).to_pylist()
    assert [row["kind"] for row in rows].count("train") == 2
    for row in rows:
        folder = whole / "runs" / row["folder"]
        assert json.loads((folder / "result.json").read_text()) == json.loads(row["result"])
        settings = json.loads((folder / "settings.json").read_text())
        known = json.loads(row["settings"])
        known.pop("parent_epochs", None)  # is the parent's own setting, and is not known before the parent is
        assert known == {name: settings[name] for name in known}
        assert {"data", "lr", "seed", "threads"} <= known.keys()
        assert (row["status"], row["final"]) == ("failed" if known["lr"] == 1e8 else "done", True)
        if row["status"] == "done":
            result = json.loads(row["result"])
            assert row["test_accuracy"] == result["test"]["accuracy"]
            assert row["validation_nll"] == result["validation"]["nll"]
            assert row["seconds"] == json.loads((folder / "timing.json").read_text())["seconds"]
            assert row["parent"] in {other["name"] for other in rows} | {None}
        else:
            assert row["test_accuracy"] is None


# -- the file alone -----------------------------------------------------------------------------------------


def test_the_file_alone_tells_the_same(whole, alone, tmp_path):
    here, there = read_study_folder(alone), read_study_folder(whole)
    assert here.rows == there.rows
    assert here.environment == there.environment
    assert len(here.rows) == 3
    assert len(here.failures) == 4
    assert told(here, tmp_path / "here.html") == told(there, tmp_path / "there.html")


def test_the_file_alone_is_a_study_that_is_done(whole, alone):
    study = small(**ASKED)
    assert missing(study, alone)[0] == []
    found = run_study(study, alone)
    assert found.rows == read_study_folder(whole).rows
    assert not (alone / "runs").exists(), "nothing was trained"


def test_only_what_the_file_has_not_is_trained(whole, alone):
    more = {**ASKED, "sparsity": [0.9, 0.5], "tune_lr": [0.05]}
    found = run_study(small(**more), alone)
    trained = {path.name.rpartition("-")[0] for path in (alone / "runs").iterdir()}
    assert trained == {
        "dense-seed0", "dense-seed1",  # their weights are needed again
        "one-shot-0.5-seed0", "one-shot-0.5-seed1", "gradual-0.5-seed0", "gradual-0.5-seed1",
    }  # fmt: skip
    again = bits(alone)
    assert {name: again[name] for name in again if "dense" in name} == {
        name: content for name, content in bits(whole).items() if "dense" in name
    }
    former = [row for row in read_study_folder(whole).rows if row.sparsity]
    assert [row.label for row in found.rows if row.sparsity == 0.9] == [row.label for row in former]
    assert [row.accuracy for row in found.rows if row.sparsity == 0.9] == [row.accuracy for row in former]


def test_a_description_without_results_has_no_rows_yet(alone):
    (alone / FILE).unlink()
    found = read_study_folder(alone)
    assert (found.rows, found.cells) == ([], [])
    assert len(found.runs) == 10


def test_rows_of_a_former_study_are_kept_and_not_shown(alone):
    before = read_results(alone)
    fewer = small(**{**ASKED, "method": "one-shot"})
    found = run_study(fewer, alone)
    assert {row.label for row in found.rows} == {"dense parent", "one-shot"}
    assert {cell.label for cell in found.cells} == {"dense parent", "one-shot"}
    assert {cell.label for cell in found.failures} == {"one-shot"}
    assert plain(read_results(alone)) == plain(before), "nothing is forgotten"
    assert list(read_results(alone))[:6] == [run.name for run in plan(fewer)], "those of the study come first"
    back = run_study(small(**ASKED), alone)
    assert {row.label for row in back.rows} == {"dense parent", "one-shot", "gradual"}
    assert not (alone / "runs").exists(), "nothing was trained"


def test_where_it_was_measured_is_kept_with_the_row(alone):
    rows = pq.read_table(alone / FILE).to_pylist()
    elsewhere = [{**row, "environment": json.dumps({"processor": "an abacus"})} for row in rows]
    pq.write_table(pa.Table.from_pylist(elsewhere), alone / FILE)
    found = run_study(small(**ASKED), alone)
    assert found.environment == {"processor": "an abacus"}
    more = run_study(small(**{**ASKED, "seed": [0, 1, 2], "tune_lr": 0.05}), alone)
    assert more.environment["processor"].split(", ")[-1] == "an abacus" != more.environment["processor"]


def test_a_parent_is_in_every_panel_of_its_children(alone, tmp_path):
    study = small(scope=["global", "layer"], panels="scope")
    runs = plan(study)
    records = {run.name: {"result": {"failed": "x"}, "metrics": [], "seconds": None} for run in runs}
    cells = cells_of(runs, records, tmp_path)
    assert [(cell.panel, cell.label, cell.sparsity) for cell in cells] == [
        ("scope=global", "dense parent", 0.0), ("scope=layer", "dense parent", 0.0),
        ("scope=global", "one-shot", 0.9), ("scope=layer", "one-shot", 0.9),
    ]  # fmt: skip


# -- damage -------------------------------------------------------------------------------------------------


def read_in_every_way(folder: Path) -> str | None:
    """What is told of a study whose file of results may be damaged: its table, or None after one clear sentence."""
    try:
        found = read_study_folder(folder)
        run_study(found.study, folder)
    except LehrError as error:
        sentence = str(error)
    else:
        return table(found)
    assert FILE in sentence
    assert "\n" not in sentence
    assert "is damaged" in sentence
    assert "delete it, and start the study again" in sentence
    return None


def rewritten(folder: Path, **changes: object) -> None:
    """The file with other values in the columns named; without a column where the value is `...`."""
    rows = pq.read_table(folder / FILE).to_pylist()
    rows = [{k: v for k, v in (row | changes).items() if v is not ...} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), folder / FILE)


def test_a_file_that_is_cut_short_is_told(alone):
    good = (alone / FILE).read_bytes()
    for length in (0, 1, 4, 100, len(good) // 2, len(good) - 9, len(good) - 1):
        (alone / FILE).write_bytes(good[:length])
        assert read_in_every_way(alone) is None, length
        assert (alone / FILE).read_bytes() == good[:length], "it is left for whoever wants to look"


@pytest.mark.parametrize(
    "content", [b"junk", b"PAR1PAR1", b"{}", b"PAR1" + 100 * b"\0" + b"PAR1", 8 * b"\xff"], ids=repr
)
def test_a_file_of_another_kind_is_told(alone, content):
    (alone / FILE).write_bytes(content)
    assert read_in_every_way(alone) is None


def test_a_table_of_something_else_is_told(alone):
    pq.write_table(pa.Table.from_pylist([{"city": "Ulm", "people": 126_000}]), alone / FILE)
    assert read_in_every_way(alone) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"result": "[]"},
        {"result": "{}"},
        {"result": '{"failed": 3}'},
        {"result": '{"failed": '},
        {"result": None},
        {"result": 3},
        {"result": ...},
        {"metrics": "{}"},
        {"metrics": "3"},
        {"metrics": ...},
        {"name": ...},
        {"settings": "x"},
    ],
    ids=str,
)
def test_a_table_with_other_values_is_told(alone, changes):
    rewritten(alone, **changes)
    assert read_in_every_way(alone) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": ...},
        {"seconds": "long"},
        {"final": ...},
        {"environment": ...},
        {"environment": "3"},
        {"environment": '{"cores": 2}'},
        {"result": 99_999 * "["},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_table_with_other_values_is_told_too(alone, changes):
    rewritten(alone, **changes)
    assert read_in_every_way(alone) is None


def test_a_flipped_bit_is_told_or_changes_nothing(alone):
    good = (alone / FILE).read_bytes()
    usual = read_results(alone)
    places = random.Random(0)
    told = 0
    for _ in range(600):
        damaged = bytearray(good)
        damaged[places.randrange(len(good))] ^= 1 << places.randrange(8)
        (alone / FILE).write_bytes(damaged)
        try:
            found = read_results(alone)
        except LehrError as error:
            sentence = str(error)
        else:
            assert {name: found[name]["result"] for name in found} == {name: usual[name]["result"] for name in usual}
            assert [one["metrics"] for one in found.values()] == [one["metrics"] for one in usual.values()]
            continue
        assert "is damaged" in sentence
        assert "\n" not in sentence
        told += 1
    assert told > 100


@pytest.mark.parametrize(
    "content", [b"{", b"{}", b"\xff", b'{"title": "t", "grids": []}', b'{"title": "t", "grids": [3]}']
)
def test_a_damaged_description_is_told(alone, content):
    (alone / STUDY).write_bytes(content)
    with pytest.raises(LehrError) as sentence:
        read_study_folder(alone)
    assert "\n" not in str(sentence.value)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"'])
def test_a_description_of_another_form_is_told(alone, content):
    (alone / STUDY).write_text(content)
    with pytest.raises(LehrError):
        read_study_folder(alone)


def test_a_folder_without_a_study_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(LehrError, match="there is no study in"):
            read_study_folder(place)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_is_replaced_while_it_is_read_is_one_of_the_two(tmp_path):
    """Another driver writes its results whenever it likes; what is read is never half of each."""
    import threading

    run_study(small(), tmp_path)
    records = list(read_results(tmp_path).values())
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for part in (records, records[:1]):
                write_results(tmp_path, part)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        assert {len(read_results(tmp_path)) for _ in range(60)} <= {1, len(records)}
    finally:
        stop.set()
        writer.join()
