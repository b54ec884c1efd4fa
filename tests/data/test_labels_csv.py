"""Folders whose labels stand in `labels.csv`."""

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.data.readers import labels_csv
from keras_leoclr.evaluation import features_identity
from keras_leoclr.views.preprocessing import Preprocessing
from tests.several_labels import NAMES, THINGS, rows
from tests.sources import as_numpy, flat, value_of, write

pytestmark = pytest.mark.backend_free


def lines(things=THINGS, first=0, below="", names=NAMES):
    """The file's text; picture n is called n.png."""
    found = [
        f"{below}{first + n}.png,{'|'.join(names[i] for i in sorted({*t}))}" for n, t in enumerate(things)
    ]
    return "\n".join(["file,labels", *found, ""])


def pictures(folder, count=8, first=0):
    return write(folder, **{str(n): flat(n) for n in range(first, first + count)})


@pytest.fixture
def labelled(tmp_path):
    """Eight pictures and their labels in one folder."""
    folder = pictures(tmp_path / "scenes")
    (folder / "labels.csv").write_text(lines())
    return folder


def test_labels_are_those_of_the_file(labelled):
    source = kl.data.load(labelled)
    assert source.several_labels and source.class_names == ("bird", "cat", "dog")
    columns = [NAMES.index(name) for name in source.class_names]
    for element in as_numpy(source):
        assert element["label"].dtype == np.uint8
        np.testing.assert_array_equal(element["label"], rows()[value_of(element), columns])
    part = kl.data.load(labelled, "train[25%:75%]")
    np.testing.assert_array_equal(part.labels, source.labels[2:6])
    np.testing.assert_array_equal([element["label"] for element in as_numpy(part.take(2))], part.labels[:2])


def test_a_list_of_classes_gives_their_order_and_names_those_that_no_picture_has(labelled):
    (labelled / "classes.txt").write_text("cat\ndog\nbird\nhorse\n")
    with pytest.warns(
        UserWarning, match="1 of 4 classes in .* are on no picture: horse. They stay in the list"
    ):
        source = kl.data.load(labelled)
    assert source.class_names == (*NAMES, "horse") and not source.labels[:, 3].any()
    (labelled / "classes.txt").write_text("cat\nbird\n")
    with pytest.raises(
        ValueError, match=r"classes.txt must name every class of .*labels.csv once. .*none for dog"
    ):
        kl.data.load(labelled)


def test_columns_may_be_in_another_order_with_others_between_them(labelled):
    expected = kl.data.load(labelled)
    parts = [line.split(",") for line in lines().splitlines()[1:]]
    text = "\ufefflabels,note,file\r\n" + "".join(f'" {b} ","a, ""b""",{a}\r\n' for a, b in parts)
    (labelled / "labels.csv").write_text(text, newline="")
    found = kl.data.load(labelled)
    assert found.class_names == expected.class_names
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("where", ["above", "beside"])
def test_splits_have_the_same_classes(tmp_path, where):
    train, test = pictures(tmp_path / "train", 2), pictures(tmp_path / "test", 2, first=2)
    if where == "above":
        both = lines([[0], [0, 1]], below="train/") + lines([[1, 2], [1]], 2, "test/").split("\n", 1)[1]
        (tmp_path / "labels.csv").write_text(both)
    else:
        (train / "labels.csv").write_text(lines([[0], [0, 1]]))
        (test / "labels.csv").write_text(lines([[1, 2], [1]], 2))
    with pytest.warns(UserWarning, match="1 of 3 classes in .*train are on no picture: bird"):
        assert kl.data.load(tmp_path, "train").class_names == ("bird", "cat", "dog")
    with pytest.warns(UserWarning, match="1 of 3 classes in .*test are on no picture: cat"):
        source = kl.data.load(tmp_path, "test")
    assert source.class_names == ("bird", "cat", "dog")
    found = {value_of(element): element["label"].tolist() for element in as_numpy(source)}
    assert found == {2: [1, 0, 1], 3: [0, 0, 1]}


def test_a_file_above_lists_the_pictures_of_test_and_those_beside_it(tmp_path):
    pictures(tmp_path, 2)
    pictures(tmp_path / "test", 2, first=2)
    both = lines([[0], [0, 1]]) + lines([[1, 2], [1]], 2, "test/").split("\n", 1)[1]
    (tmp_path / "labels.csv").write_text(both)
    with pytest.warns(UserWarning, match="1 of 3 classes .* are on no picture: bird"):
        assert sorted(map(value_of, as_numpy(kl.data.load(tmp_path)))) == [0, 1]
    with pytest.warns(UserWarning, match="1 of 3 classes .* are on no picture: cat"):
        assert sorted(map(value_of, as_numpy(kl.data.load(tmp_path, "test")))) == [2, 3]


def test_a_split_without_labels_stays_without(tmp_path):
    (pictures(tmp_path / "test") / "labels.csv").write_text(lines())
    pictures(tmp_path / "train", 3, first=20)
    assert not kl.data.load(tmp_path, "train").labelled
    assert kl.data.load(tmp_path, "test").several_labels


def test_files_in_two_places_or_beside_folders_of_classes_are_refused(tmp_path):
    (pictures(tmp_path / "test") / "labels.csv").write_text(lines())
    write(tmp_path / "train", a__1=flat(1), b__2=flat(2))
    with pytest.raises(
        ValueError, match="must have several labels, or those of none. .*one folder per class"
    ):
        kl.data.load(tmp_path, "train")
    (tmp_path / "labels.csv").write_text(lines(below="test/"))
    with pytest.raises(
        ValueError, match="must lie in the folder of the splits or in that of each split. Rec"
    ):
        kl.data.load(tmp_path, "test")


def test_files_that_are_not_there_and_pictures_that_are_missing_are_counted_and_named(labelled):
    pictures(labelled, 5, first=20)
    (labelled / "labels.csv").write_text(lines() + "lost.png,cat\n")
    missed = r"misses 5 pictures \(20.png, 21.png, 22.png and 2 more\)"
    with pytest.raises(ValueError, match=rf"names 1 files that are not there \(lost.png\) and {missed}"):
        kl.data.load(labelled)
    with pytest.raises(ValueError, match="more than"):
        kl.data.load(labelled, on_error="skip")
    with pytest.warns(UserWarning, match="6 files cannot be read"):
        source = kl.data.load(labelled, on_error="skip", max_failures=0.5)
    assert source.count == 8 and source.failures.count == 6
    reasons = dict(source.failures.items())
    assert reasons[str(labelled / "lost.png")] == labels_csv.NOT_THERE
    assert reasons[str(labelled / "20.png")] == labels_csv.NOT_NAMED


def test_what_lies_in_no_split_is_not_there(tmp_path):
    pictures(tmp_path / "train")
    pictures(tmp_path / "test", 2, first=20)
    (tmp_path / "labels.csv").write_text(
        lines(below="train/") + "0.png,cat\ntest/20.png,cat\ntest/21.png,dog\n"
    )
    with pytest.raises(ValueError, match=r"names 1 files that are not there \(\.\./0\.png\)"):
        kl.data.load(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line must name the columns, file,labels; .* Received: an empty file"),
        ("file;labels\n0.png;cat\n", "the first line must name the columns, .* Received: file;labels"),
        ("file,labels\n0.png\n", "line 2 must have 2 columns. Received: 1"),
        ("file,labels\n0.png,cat\n1.png,cat,dog\n", "line 3 must have 2 columns. Received: 3"),
        (
            "file,labels\n0.png,cat\n./0.png,dog\n",
            r"a file must be named once, .*: \./0.png in the lines 2 and 3",
        ),
        ("file,labels\n0.png,cat||dog\n", "the labels of line 2 must be names that differ. Received: cat"),
        ("file,labels\n0.png,cat|cat\n", "the labels of line 2 must be names that differ"),
        (
            "file,labels\n/0.png,cat|dog\n",
            "line 2 must name a file below the folder of labels.csv, relative to it",
        ),
        ("file,labels\n../0.png,cat|dog\n", r"line 2 must name a file below .* Received: \.\./0.png"),
        ("file,labels\n,cat|dog\n", "line 2 must name a file below .* Received: none"),
        ("file,labels\n0.png,\n", "a picture must have a label. Received: 1 pictures without any"),
        ("file,labels\n0.png,cat\n", "there must be 2 classes or more. Received: cat alone"),
        ("file,labels\n0.png,cat;dog\n1.png,cat\n2.png,dog\n", "must be separated by |. Received: cat;dog"),
        ('file,labels\n0.png,"cat\n', "it must be a CSV file in UTF-8"),
    ],
)
def test_damaged_files_are_refused_with_the_line(labelled, text, words):
    (labelled / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=f"labels.csv: {words}"):
        kl.data.load(labelled)


def test_a_file_in_another_encoding_is_refused(labelled):
    (labelled / "labels.csv").write_bytes("file,labels\n0.png,Vögel|Fische\n".encode("latin-1"))
    with pytest.raises(ValueError, match="labels.csv: it must be a CSV file in UTF-8, with commas between"):
        kl.data.load(labelled)


def test_features_are_not_taken_for_those_of_other_labels(labelled):
    def identity():
        return features_identity(kl.data.load(labelled), str(labelled), "train", Preprocessing(image_size=8))

    before = identity()
    (labelled / "labels.csv").write_text(lines()[:-1] + "|dog\n")
    assert before["content"] != identity()["content"]
    (labelled / "labels.csv").write_text(lines())
    assert before == identity()
