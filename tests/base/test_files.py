import errno
import os

import pytest

from lehr import LehrError
from lehr.base import files


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def fail(beside):
        beside.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(LehrError, match=r"cannot write .*a.json \(No space left on device\): free space or choose"):
        files.write_beside(path, fail)
    assert files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LehrError, match="cannot write"):
        files.write_text(tmp_path / "file" / "x.txt", "hello")


def test_nan_and_damage_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "nan.json", float("nan"))
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(LehrError, match="bad.json is damaged"):
        files.read_json(tmp_path / "bad.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(LehrError, match="damaged"):
        files.read_json(tmp_path / "deep.json")
    with pytest.raises(LehrError, match="cannot read"):
        files.read_json(tmp_path / "none.json")
