"""YAML from a person or a stranger: data only, and one sentence where it is not."""

import pytest

from lehr import LehrError
from lehr.base.yaml import read_yaml


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "is not YAML"),
        ("a: 1\nb: 2\na: 3", "a is given twice"),
        ("a: {b: 1, b: 1}", "b is given twice"),
        ("data: 2024-13-45", "is not YAML"),
        ("a: !!int abc", "is not YAML"),
        ("a: " + "9" * 5000, "is not YAML"),
        ("a: !!timestamp x", "is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("[" * 3000, "is not YAML"),
        ("? [1, 2]\n: 3\n? {a: 1}\n: 2", "is not YAML"),
    ],
)
def test_one_sentence(tmp_path, text, reason):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(LehrError, match=reason) as error:
        read_yaml(file, "study")
    assert "\n" not in str(error.value)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(LehrError, match="there is no study"):
        read_yaml(tmp_path, "study")
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LehrError, match="is not YAML"):
        read_yaml(tmp_path / "x", "study")


def test_merges_are_no_second_value(tmp_path):
    (tmp_path / "x").write_text("a: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}")
    assert read_yaml(tmp_path / "x", "study")["d"] == {"b": 3, "c": 2}
