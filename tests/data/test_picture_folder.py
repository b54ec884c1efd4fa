"""Folders of pictures: numbers, classes, splits, names."""

import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.data import summary
from tests.pictures import encoded, picture
from tests.sources import as_numpy, flat, numbers, value_of, values, write

pytestmark = pytest.mark.backend_free


def test_folder_is_read_in_any_order_and_inside_of_a_pipeline(many):
    images = kl.data.load(many).images
    assert (images.count, images.labelled, images.image_shape) == (100, True, (None, None, 3))
    of_number = [int(pathlib.Path(path).stem) for path in images.paths]
    order = np.random.default_rng(0).integers(0, 100, 300)
    got = as_numpy(images.fetch(numbers(*order), parallel=3))
    assert [value_of(e) for e in got] == [of_number[i] for i in order]
    assert [int(e["label"]) for e in got] == [of_number[i] % 4 for i in order]

    def epoch(number):
        return images.fetch(tf.data.Dataset.range(number * 10, number * 10 + 3))

    nested = tf.data.Dataset.range(3).flat_map(epoch)
    assert values(nested) == [of_number[i] for i in (0, 1, 2, 10, 11, 12, 20, 21, 22)]


def test_only_the_files_named_are_opened(many):
    images = kl.data.load(many).images
    for path in images.paths[10:]:
        os.unlink(path)
    assert len(as_numpy(images.fetch(numbers(3, 9, 0)))) == 3


def test_order_is_a_sample_of_all_classes_and_slices_are_disjoint(many):
    whole, half, rest = (kl.data.load(many, f"train{part}") for part in ("", "[:50%]", "[50%:]"))
    assert whole.images.class_names == ("class0", "class1", "class2", "class3")
    assert values(half) + values(rest) == values(whole)
    assert sorted(values(whole)) == list(range(100))
    assert min(np.bincount(half.images.labels)) >= 5
    assert values(kl.data.load(many)) == values(whole)


def test_order_does_not_depend_on_where_the_folder_lies(many, tmp_path):
    before = values(kl.data.load(many))
    assert values(kl.data.load(many.rename(tmp_path / "moved"))) == before


def test_first_level_folders_are_the_classes_at_any_depth(tmp_path):
    write(tmp_path, b__x__y__deep=flat(1), a__near=flat(0), b__near=flat(1))
    dataset = kl.data.load(tmp_path)
    assert dataset.images.class_names == ("a", "b")
    assert all(int(e["label"]) == value_of(e) for e in as_numpy(dataset))


def test_flat_folder_has_no_labels(tmp_path):
    dataset = kl.data.load(write(tmp_path, one=flat(1), two=flat(2)))
    assert set(dataset.element_spec) == {"image"} and not dataset.images.labelled
    assert sorted(values(dataset)) == [1, 2]


def test_mixed_folder_is_flat_with_a_warning(tmp_path):
    write(tmp_path, one=flat(1), cat__two=flat(2))
    with pytest.warns(
        UserWarning, match="1 of 2 files lie directly in .* folders with the others: all are taken"
    ):
        dataset = kl.data.load(tmp_path)
    assert not dataset.images.labelled and dataset.images.count == 2


def test_class_without_pictures_is_named_and_stays(tmp_path):
    write(tmp_path, a__x=flat(0), c__x=flat(2))
    (tmp_path / "b").mkdir()
    with pytest.warns(UserWarning, match="1 of 3 class folders in .* hold no pictures: b. They stay"):
        dataset = kl.data.load(tmp_path)
    assert dataset.images.class_names == ("a", "b", "c")
    assert all(int(e["label"]) == value_of(e) for e in as_numpy(dataset))


def test_sub_folders_named_as_splits_are_the_splits(tmp_path):
    write(tmp_path, train__a__x=flat(0), val__a__x=flat(1), minival__a__x=flat(2))
    assert values(kl.data.load(tmp_path)) == [0]
    for name, expected in {"val": 1, "validation": 1, "minival": 2}.items():
        assert values(kl.data.load(tmp_path, name)) == [expected]
    with pytest.raises(ValueError, match="`split` of .* one of its sub-folders: minival, train, val. Rec"):
        kl.data.load(tmp_path, "test")


def test_train_leaves_out_the_folders_of_other_splits(tmp_path):
    (tmp_path / "a").mkdir()
    root = write(
        tmp_path / "a",
        cat__x=flat(0),
        dog__x=flat(1),
        test__cat__x=flat(2),
        test__dog__x=flat(3),
        val__x=flat(4),
    )
    source = kl.data.load(root)
    assert sorted(values(source)) == [0, 1] and source.class_names == ("cat", "dog")
    assert sorted(values(kl.data.load(root, "test"))) == [2, 3] and values(kl.data.load(root, "val")) == [4]
    lines = summary.describe(root).lines
    assert lines["pictures"] == "2" and "folder of another split 2" in lines["ignored"]
    (tmp_path / "b").mkdir()
    both = kl.data.load([root, write(tmp_path / "b", owl__x=flat(5))])
    assert sorted(values(both)) == [0, 1, 5] and both.class_names == ("cat", "dog", "owl")
    with pytest.raises(ValueError, match='sub-folders: test, val, "train", which is all other folders. Rec'):
        kl.data.load(root, "minival")
    for name in ("cat", "dog"):
        shutil.rmtree(root / name)
    with pytest.raises(ValueError, match="must hold pictures.* with other files: 2 folder of another split"):
        kl.data.load(root)


def test_without_split_folders_train_is_everything(many):
    with pytest.raises(ValueError, match='sub-folders: "train", which is everything. Received: split=.test'):
        kl.data.load(many, "test")
    with pytest.raises(ValueError, match="Received: split='class0'"):
        kl.data.load(many, "class0")


def test_names_may_be_anything(tmp_path):
    names = [
        b"with space",
        b"line\nbreak",
        "\u00fcn\u00ef\u4e2d".encode(),
        b"not \xff utf8",
        b"tab\there",
        b"100%",
    ]
    for number, name in enumerate(names):
        pathlib.Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name + b".png"))).write_bytes(
            flat(number)
        )
    dataset = kl.data.load(tmp_path)
    assert sorted(values(dataset)) == list(range(len(names)))
    for path in dataset.images.paths:
        pathlib.Path(path).write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"6 files of 6 cannot be read") as caught:
        kl.data.load(tmp_path)
    assert "\n" not in str(caught.value) and str(caught.value).encode()


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must hold pictures, files with .*\.jpg .* with no files"):
        kl.data.load(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"with other files: 1 \.txt"):
        kl.data.load(tmp_path)


def test_max_pixels_and_background_reach_the_folder(tmp_path):
    write(tmp_path, clear=encoded(picture("RGBA", 3, 4).point(lambda _: 0), "PNG"))
    assert values(kl.data.load(tmp_path, background=(9, 9, 9))) == [9]
    with pytest.raises(ValueError, match="4 x 3 pixels are more than `max_pixels`, 11, allows"):
        kl.data.load(tmp_path, max_pixels=11)
