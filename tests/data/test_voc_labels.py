"""Folders in the format of Pascal VOC as pictures with several labels."""

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data.readers.voc_annotations import AnnotationError
from tests.sources import as_numpy, flat, value_of, write

pytest.importorskip("defusedxml")
pytestmark = pytest.mark.backend_free

ON = {"0": ("dog", "cat", "dog"), "1": ("cat",), "2": (), "3": ("sheep",), "4": ("cat", "dog")}


def annotation(names):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>2</ymax></bndbox>"
    return f"<annotation>{''.join(f'<object><name>{n}</name>{box}</object>' for n in names)}</annotation>"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "VOC2007"
    write(root / "JPEGImages", **{name: flat(int(name)) for name in ON})
    write(root / "SegmentationClass", **{"0": flat(0)})
    (root / "Annotations").mkdir()
    for name, names in ON.items():
        (root / "Annotations" / f"{name}.xml").write_text(annotation(names))
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("2\n0\n1\n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("4\n3\n")
    return root


def test_labels_are_the_classes_of_the_objects(folder):
    with pytest.warns(UserWarning, match="1 of 3 classes in .* are on no picture: sheep. They stay"):
        train = kl.data.load(folder, "trainval")
    test = kl.data.load(folder, "test")
    assert train.class_names == test.class_names == ("cat", "dog", "sheep")
    assert train.several_labels and [value_of(element) for element in as_numpy(train)] == [2, 0, 1]
    np.testing.assert_array_equal(train.labels, [[0, 0, 0], [1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(test.labels, [[1, 1, 0], [0, 0, 1]])
    assert [value_of(element) for element in as_numpy(kl.data.load(folder, "test[50%:]"))] == [3]


def test_splits_classes_and_pictures_that_are_not_there_are_named(folder):
    with pytest.raises(
        ValueError, match="`split` must be one of .*Main: test, trainval. Received: split='train'"
    ):
        kl.data.load(folder)
    (folder / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(AnnotationError, match="3.xml: class must be one of cat, dog. Received: sheep"):
        kl.data.load(folder, "test")
    (folder / "classes.txt").write_text("sheep\ncat\ndog\n")
    assert kl.data.load(folder, "test").class_names == ("sheep", "cat", "dog")
    (folder / "JPEGImages" / "4.png").unlink()
    with pytest.raises(ValueError, match="1 file of 2 cannot be read as pictures: .*4 .named by the split"):
        kl.data.load(folder, "test")
    with pytest.warns(UserWarning):
        assert kl.data.load(folder, "test", on_error="skip").count == 1
    (folder / "Annotations" / "3.xml").unlink()
    with pytest.raises(
        FileNotFoundError,
        match="the annotations of every picture of its splits. Received: split='test', without .*3.xml",
    ):
        kl.data.load(folder, "test")


def test_the_command_describes_the_folder(folder, capsys):
    assert cli.main(["leoclr", "data", str(folder), "--split", "test"]) == 0
    out = capsys.readouterr().out
    assert "pictures    2" in out and "labels      several per picture: 1.5 on average, 1 to 2" in out


def test_without_lists_of_splits_all_annotated_pictures_are_the_training_images(folder):
    for path in (folder / "ImageSets" / "Main").glob("*.txt"):
        path.unlink()
    (folder / "ImageSets" / "Main").rmdir()
    (folder / "JPEGImages" / "9.png").write_bytes(flat(9))
    assert sorted(value_of(element) for element in as_numpy(kl.data.load(folder))) == [0, 1, 2, 3, 4]


def test_other_folders_of_these_names_are_folders_of_pictures(tmp_path):
    write(tmp_path, JPEGImages__1=flat(1), Annotations__2=flat(2))
    assert kl.data.load(tmp_path).class_names == ("Annotations", "JPEGImages")
