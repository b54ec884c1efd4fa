"""What `leoclr data` says of a source."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_leoclr import cli
from tests.pictures import jpeg
from tests.sources import example, flat, write_records

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
        r"would skip  nothing, by the headers",
    ):
        assert line in out


def test_command_names_what_would_be_skipped(with_bad, capsys):
    status, out, _ = said(capsys, with_bad)
    assert status == 1 and "would skip  1\n" in out and "empty.jpg: empty, 0 bytes" in out
    status, out, _ = said(capsys, with_bad, "--verify")
    assert status == 1 and "would skip  2\n" in out and "cut.jpg: damaged: " in out


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
