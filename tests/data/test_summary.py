"""What `leoclr data` says of a source."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data.label_summary import of_labels
from tests.pictures import jpeg
from tests.sources import example, flat, write, write_records

pytestmark = pytest.mark.backend_free


def said(capsys, *arguments):
    status = cli.main(["leoclr", "data", *map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_command_describes_a_folder(many, capsys):
    (many / "class1" / "grey.jpg").write_bytes(jpeg(mode="L", height=9, width=20))
    (many / "notes.txt").write_text("x")
    status, out, _ = said(capsys, many)
    assert status == 0
    for line in (
        r"pictures    101",
        r"width       min 4, median 4, max 20",
        r"height      min 3, median 3, max 9",
        r"formats     PNG 100, JPEG 1",
        r"modes       RGB 100, L 1",
        r"classes     4; smallest class0 (25 pictures), largest class1 (26 pictures)",
        r"ignored     1 file: .txt 1",
        r"unreadable  none by their headers",
    ):
        assert line in out


def test_command_names_what_would_be_skipped(with_bad, capsys):
    status, out, _ = said(capsys, with_bad)
    assert status == 1 and "unreadable  1\n" in out and "empty.jpg: empty, 0 bytes" in out
    status, out, _ = said(capsys, with_bad, "--verify")
    assert status == 1 and "unreadable  2\n" in out and "cut.jpg: damaged: " in out


def test_command_describes_other_sources(tmp_path, own_data_set, capsys):
    status, out, _ = said(capsys, "fashion_mnist", "--split", "test[:50%]")
    assert status == 0 and "pictures    1,000" in out and "28 x 28 x 1, uint8" in out
    write_records(tmp_path / "a.tfrecord", [example(flat(n) if n else b"bad", n) for n in range(30)])
    status, out, _ = said(capsys, tmp_path / "a.tfrecord", "--verify")
    assert status == 1 and "PNG 29" in out and "record 0: no JPEG" in out and "labels      yes" in out
    status, out, _ = said(capsys, "tfds:own", "--data_dir", own_data_set("array_record"))
    assert status == 0 and "labels      yes, 2 classes" in out and "width       min 4" in out


def test_command_refuses_wrong_usage(tmp_path, capsys):
    assert said(capsys)[0] == 2
    assert said(capsys, tmp_path, "more")[0] == 2
    assert said(capsys, tmp_path, "--colour", "red")[0] == 2
    status, _, err = said(capsys, tmp_path / "none")
    assert status == 1 and "no such file or folder" in err
    status, out, _ = said(capsys, "--help")
    assert status == 0 and "--[no]verify" in out and "leoclr data NAME_OR_PATH" in out


@given(missing=st.sets(st.integers(0, 8), max_size=9))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_command_counts_what_has_no_label(tmp_path, capsys, missing):
    label = np.arange(9) % 3
    label[list(missing)] = -1
    np.savez(tmp_path / "x.npz", image=np.zeros((9, 4, 4, 3), "uint8"), label=label)
    status, out, _ = said(capsys, tmp_path / "x.npz")
    assert status == 0
    (line,) = (line for line in out.splitlines() if line.startswith("labels"))
    if not missing:
        assert line == "labels      yes" and "classes     3 of 3 pictures each" in out
    elif len(missing) == 9:
        assert line == "labels      none"
    else:
        assert line == f"labels      {9 - len(missing)} pictures; {len(missing)} have none (-1)"


def test_several_labels_are_counted(tmp_path, capsys):
    folder = write(tmp_path / "scenes", **{str(n): flat(n) for n in range(4)})
    (folder / "labels.csv").write_text("file,labels\n0.png,cat|dog\n1.png,cat\n2.png,\n3.png,cat\n")
    (folder / "classes.txt").write_text("cat\ndog\nhorse\n")
    status, out, _ = said(capsys, folder)
    assert status == 0 and "ignored" not in out
    for line in (
        "labels      several per picture: 1.0 on average, 0 to 2; 1 of 4 pictures have none",
        "classes     3; smallest horse (0 pictures), largest cat (3 pictures)",
        "  cat           3 pictures   75.0%",
        "on none     1 of 3 classes are on no picture: horse",
    ):
        assert line in out.splitlines(), out
    assert json.loads(said(capsys, folder, "--json")[1])["labels"] == {
        "pictures": 4,
        "several": True,
        "classes": {"cat": 3, "dog": 1, "horse": 0},
        "per_picture": {"0": 1, "1": 2, "2": 1},
    }


def test_several_labels_of_a_stream_are_those_of_its_first_pictures(tmp_path, capsys):
    rows = [[1, 0], [0, 1], [1, 0], [1, 0]]
    path = write_records(tmp_path / "a.tfrecord", [example(flat(n), row) for n, row in enumerate(rows)])
    _, out, _ = said(capsys, path)
    assert "  0         3 pictures   75.0%" in out.splitlines()
    assert "one each    every picture has one label: as numbers of classes (N,) they are judged" in out


def test_many_classes_are_named_in_part():
    rows = np.triu(np.ones((60, 60), np.uint8))
    source = kl.data.load({"image": np.zeros((60, 4, 4, 3), np.uint8), "label": rows})
    lines, facts = of_labels(source)
    table = lines["classes"].splitlines()
    assert len(table) == 42 and table[21] == "  20 classes between them" and len(facts["classes"]) == 60
    assert table[0] == "60; smallest 0 (1 pictures), largest 59 (60 pictures)"
