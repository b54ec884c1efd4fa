"""Copies of files and pictures that look nearly the same, as `leoclr data` tells them."""

import json
import sys
import zipfile

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data import duplicates
from tests.pictures import encoded, jpeg, picture, png

pytestmark = pytest.mark.backend_free


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four different pictures, a copy, and a smaller JPEG of another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top = tmp_path / "pictures"
    top.mkdir()
    for number in range(4):
        (top / f"{number}.png").write_bytes(png(number, 80, 100))
    (top / "copy.png").write_bytes(png(2, 80, 100))
    small = picture("RGB", 80, 100, 3).resize((50, 40))
    (top / "small.jpg").write_bytes(encoded(small, "JPEG", quality=70))
    return top


def last(groups):
    return sorted(sorted(name.rsplit("/", 1)[-1] for name in group) for group in groups)


def test_copies_are_counted_and_near_duplicates_on_demand(folder, capsys):
    assert cli.main(["leoclr", "data", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "copies      2 pictures in 1 group are the same file, such as" in said and "near " not in said
    pytest.importorskip("imagehash")
    with zipfile.ZipFile(folder.parent / "more.zip", "w") as file:
        file.writestr("0.png", png(0, 80, 100))
    assert cli.main(["leoclr", "data", f"{folder},{folder.parent}/more.zip", "--duplicates", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["duplicates"]
    assert last(found["copies"]) == [["0.png", "0.png"], ["2.png", "copy.png"]]
    assert last(found["near"]) == [["0.png", "0.png"], ["2.png", "copy.png"], ["3.png", "small.jpg"]]


def test_arrays_are_looked_at_too():
    pytest.importorskip("imagehash")
    one, two = (np.asarray(picture("L", 64, 64, seed))[..., None] for seed in (0, 1))
    source = kl.data.load({"image": np.stack([one, two, one // 2 + 50])})
    assert duplicates.near_duplicates(source) == [["picture 0", "picture 2"]]


def test_groups_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**63, 60).astype(np.uint64)
    near = values[:30] ^ (np.uint64(1) << rng.integers(0, 64, 30).astype(np.uint64))
    values = np.unique(np.concatenate([values, near]))
    group = duplicates._groups(values)
    bits = [[bin(int(a) ^ int(b)).count("1") for a in values] for b in values]
    expected = np.array(bits) <= duplicates.DISTANCE
    for _ in range(5):  # chains
        expected = expected @ expected
    np.testing.assert_array_equal(group[:, None] == group, expected)


def test_a_damaged_picture_is_no_duplicate_and_many_files_are_not_compared(folder, capsys, monkeypatch):
    from keras_leoclr.data import summary

    (folder / "cut.jpg").write_bytes(jpeg(5)[:-300])
    monkeypatch.setattr(summary, "COMPARED", 3)
    assert cli.main(["leoclr", "data", str(folder)]) == 0
    assert "not looked for among more than 3 files" in capsys.readouterr().out
    pytest.importorskip("imagehash")
    assert last(duplicates.near_duplicates(kl.data.load(folder))) == [
        ["2.png", "copy.png"],
        ["3.png", "small.jpg"],
    ]


def test_without_imagehash_the_extra_is_named(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    assert cli.main(["leoclr", "data", str(folder), "--duplicates"]) == 1
    assert "pip install 'keras-leoclr[duplicates]'" in capsys.readouterr().err
