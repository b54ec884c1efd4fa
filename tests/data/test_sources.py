"""Arrays, folders, TFRecord files and TensorFlow Datasets as sources."""

import collections
import gzip
import os
import pathlib
import socket
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import keras_leoclr as kl
from keras_leoclr import cli, terminal
from keras_leoclr.data.readers import files as index
from tests.case import random_images
from tests.pictures import encoded, header_of_a_huge_png, jpeg, picture, png

pytestmark = pytest.mark.backend_free

BUNDLED = pathlib.Path(kl.data.__file__).parent / "fashion_mnist"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Counts the headers that are read."""
    calls = collections.Counter()
    read = index.read_header

    def count(file, *arguments):
        calls[os.path.basename(os.fsdecode(file.name))] += 1
        return read(file, *arguments)

    monkeypatch.setattr(index, "read_header", count)
    return calls


def as_numpy(dataset):
    return list(dataset.as_numpy_iterator())


def numbers(*values):
    return tf.data.Dataset.from_tensor_slices(np.array(values, np.int64))


def write(folder, **files):
    """Writes `name=bytes`; "__" in a name is a sub-folder, the extension is .png."""
    for name, data in files.items():
        path = folder / (name.replace("__", "/") + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def flat(value):
    """A small PNG of one colour."""
    return encoded(picture("RGB", 3, 4).point(lambda _: value), "PNG")


def value_of(element):
    return int(element["image"].reshape(-1)[0])


def values(dataset):
    return [value_of(element) for element in as_numpy(dataset)]


@pytest.fixture
def many(tmp_path):
    """100 PNGs in 4 classes, each of the colour of its number."""
    return write(tmp_path / "many", **{f"class{n % 4}__{n}": flat(n) for n in range(100)})


# === Arrays ===


@pytest.mark.parametrize(("split", "per_class"), [("train", 1000), ("test", 200)])
def test_bundled_set_is_whole_and_balanced(split, per_class):
    elements = as_numpy(kl.data.load("fashion_mnist", split).batch(100_000))[0]
    assert elements["image"].shape == (10 * per_class, 28, 28, 1)
    assert elements["image"].dtype == np.uint8
    assert np.bincount(elements["label"]).tolist() == [per_class] * 10


def test_bundled_set_is_small_licensed_and_documented():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.npz")) <= 6e6
    assert "MIT" in (BUNDLED / "LICENSE").read_text()
    assert "github.com/zalandoresearch/fashion-mnist" in (BUNDLED / "README.md").read_text()
    assert (BUNDLED / "pack.py").is_file()


def test_packing_script_keeps_the_first_images_of_each_class():
    from keras_leoclr.data.fashion_mnist import pack

    labels = np.array([1, 0, 1, 1, 0, 0], np.uint8)
    np.testing.assert_array_equal(pack.first_of_each_class(labels, 2), [0, 1, 2, 4])


def write_idx(path, array):
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_idx_files_are_splits_with_slices(tmp_path):
    images, labels = random_images(6, channels=1)[..., 0], np.arange(6, dtype=np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images[:2])
    train, test = (as_numpy(kl.data.load(tmp_path, split)) for split in ("train[:50%]", "test"))
    assert [int(e["label"]) for e in train] == [0, 1, 2]
    np.testing.assert_array_equal([e["image"] for e in train], images[:3, :, :, None])
    assert len(test) == 2 and set(test[0]) == {"image"}


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda data: gzip.compress(data[:-1]), "must hold"),
        (lambda data: gzip.compress(data)[:40], "cannot be read"),
        (lambda data: gzip.compress(b"\x89PNG" + data), "must be an IDX file of bytes of rank 3"),
        (lambda data: gzip.compress(b""), "must be an IDX file of bytes of rank 3"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, damage, words):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    write_idx(path, random_images(3, channels=1)[..., 0])
    path.write_bytes(damage(gzip.decompress(path.read_bytes())))
    with pytest.raises(ValueError, match=words) as caught:
        kl.data.load(tmp_path)
    assert str(path) in str(caught.value)


def test_a_split_without_idx_files_is_refused(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", random_images(3, channels=1)[..., 0])
    with pytest.raises(ValueError, match="which begin with train .*split='test'"):
        kl.data.load(tmp_path, "test")


def test_npz_with_splits(tmp_path):
    np.savez(
        tmp_path / "own.npz",
        train_image=random_images(5),
        train_label=np.arange(5),
        test_image=random_images(3, channels=1),
    )
    train = as_numpy(kl.data.load(tmp_path / "own.npz", "train"))
    assert [int(e["label"]) for e in train] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(train[2]["image"], random_images(5)[2])
    test = as_numpy(kl.data.load(tmp_path / "own.npz", "test"))
    assert len(test) == 3 and set(test[0]) == {"image"}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": random_images()}, r"must hold an array `image` or `train_image`. Received: \['pict"),
        ({"image": random_images()[0]}, r"must be \(N, H, W, C\) with C 1 or 3. Received: image.shape="),
        ({"image": random_images(channels=2)}, r"must be \(N, H, W, C\) with C 1 or 3"),
        ({"image": random_images().astype("int32")}, "must be uint8 or float. Received: image.dtype=int32"),
        ({"image": random_images(), "label": np.arange(3)}, r"must be \(4,\), as many as images"),
    ],
)
def test_arrays_that_are_no_images_are_refused(arrays, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load(arrays)


def test_npz_with_a_pickle_is_not_run(tmp_path):
    np.savez(tmp_path / "bad.npz", image=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        kl.data.load(tmp_path / "bad.npz")


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`name_or_path` must be one of.*Received: 'imagenot'"):
        kl.data.load("imagenot")
    with pytest.raises(FileNotFoundError, match=r"no such file. Received: .*none\.npz"):
        kl.data.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        kl.data.load(tmp_path / "none")
    with pytest.raises(ValueError, match=r'`split` of "fashion_mnist" must be .*split=.val'):
        kl.data.load("fashion_mnist", "val")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "ignore"}, '`on_error` must be "raise" or "skip". Received: on_error=.ignore'),
        ({"max_failures": 2}, r"`max_failures` must lie in \[0, 1\]. Received: max_failures=2"),
        ({"max_pixels": 0}, r"`max_pixels` must be a whole number in \[1, 178956970\]"),
        ({"background": (0, 0, 256)}, "`background` must be three whole numbers"),
        ({"least_pixels": 0}, "`least_pixels` must be a whole number >= 1. Received: least_pixels=0"),
        ({"parallel": None}, "`parallel` must be a whole number >= 1. Received: parallel=None"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load({"image": random_images()}, **options)


# === Splits and random access ===


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", range(20)),
        ("train[:25%]", range(5)),
        ("train[25%:]", range(5, 20)),
        ("train[3:7]", range(3, 7)),
        ("train[-2:]", range(18, 20)),
        ("train[:2]+train[15:]", [0, 1, *range(15, 20)]),
    ],
)
def test_slices_of_a_split(split, expected):
    images = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 2, 2, 3))
    dataset = kl.data.load({"image": images}, split)
    assert values(dataset) == list(expected) and int(dataset.cardinality()) == len(expected)
    assert dataset.images.count == len(expected)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train[3", "`split` must be a split string.*Received: split='train.3'"),
        ("train[1shard:]", "has no shards"),
        ("train+test", "must name one split.*names several"),
        ("all", "must name one split"),
        ("train[:30]", "`split` must lie within the 20 images. Received"),
        ("train[5:5]", "`split` must leave an image"),
    ],
)
def test_splits_that_cannot_be_meant_are_refused(split, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load({"image": random_images(20)}, split)


def test_arrays_are_read_in_any_order():
    images = kl.data.load({"image": random_images(6), "label": np.arange(6)}).images
    assert (images.count, images.labelled, images.image_shape) == (6, True, (12, 12, 3))
    got = as_numpy(images.fetch(numbers(4, 0, 4, 5)))
    assert [int(e["label"]) for e in got] == [4, 0, 4, 5]
    np.testing.assert_array_equal(got[2]["image"], random_images(6)[4])


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


# === Folders ===


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


def test_other_files_are_ignored_and_counted(tmp_path):
    write(tmp_path, a=flat(0))
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", ".hidden.png", "README", "b.TXT"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    found = index.read_index(tmp_path, 10**8)
    assert len(found.headers) == 1 and not found.failures
    assert found.ignored == {"hidden": 4, ".txt": 2, ".db": 1, "no extension": 1}


def test_extensions_count_in_any_case_and_say_nothing_of_the_format(tmp_path):
    (tmp_path / "png.JPG").write_bytes(flat(1))
    (tmp_path / "jpeg.Png").write_bytes(jpeg())
    (tmp_path / "gif.jpeg").write_bytes(encoded(picture("P"), "GIF"))
    assert len(as_numpy(kl.data.load(tmp_path))) == 3


def test_links_are_followed_and_loops_are_not(tmp_path):
    write(tmp_path / "real", x=flat(1))
    root = tmp_path / "root"
    root.mkdir()
    (root / "cat").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(root)
    (tmp_path / "real" / "self").symlink_to(tmp_path / "real")
    dataset = kl.data.load(root)
    assert values(dataset) == [1] and dataset.images.class_names == ("cat",)


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must hold pictures, files with .*\.jpg .* with no files"):
        kl.data.load(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"with other files: 1 \.txt"):
        kl.data.load(tmp_path)


# === The index ===


def test_headers_are_read_once(tmp_path, opened, own_cache):
    write(tmp_path, **{f"{n % 20}__{n}": data for n, data in enumerate([flat(7)] * 3000)})
    first = kl.data.load(tmp_path)
    assert opened.total() == 3000
    assert kl.data.load(tmp_path).images.paths == first.images.paths
    assert opened.total() == 3000
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".npz"]
    assert len(list(own_cache.rglob("*.npz"))) == 1 and not list(own_cache.rglob("*.part"))


def test_changed_new_and_lost_files_are_seen(many, opened):
    kl.data.load(many)
    opened.clear()
    (many / "class0" / "0.png").write_bytes(png())  # another size
    os.utime(many / "class1" / "1.png", ns=(1, 1))  # another time
    (many / "class2" / "2.png").unlink()
    (many / "class3" / "new.png").write_bytes(flat(200))
    dataset = kl.data.load(many)
    assert dict(opened) == {"0.png": 1, "1.png": 1, "new.png": 1}
    found = values(dataset)
    assert len(found) == 100 and 2 not in found and 200 in found
    opened.clear()
    kl.data.load(many)
    assert not opened


@pytest.mark.parametrize("damage", [b"", b"no archive", "cut", "pickle", "other"])
def test_damaged_cache_is_made_again(many, opened, own_cache, damage):
    before = kl.data.load(many).images.paths
    (cache,) = own_cache.rglob("*.npz")
    if damage == "cut":
        cache.write_bytes(cache.read_bytes()[:-300])
    elif damage == "pickle":
        np.savez(cache, about=np.array([{"x": 1}], object))
    elif damage == "other":
        np.savez(cache, about=np.array("another format"))
    else:
        cache.write_bytes(damage)
    opened.clear()
    assert kl.data.load(many).images.paths == before and opened.total() == 100
    kl.data.load(many)
    assert opened.total() == 100


def test_a_bar_is_shown_only_if_it_takes_long(many, monkeypatch, capsys):
    kl.data.load(many)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(terminal, "SILENT", 0.0)
    for path in many.rglob("*.png"):
        os.utime(path, ns=(2, 2))
    kl.data.load(many)
    assert capsys.readouterr() == ("", "Headers: 100 files in 0 s\n")
    for path in many.rglob("*.png"):
        os.utime(path, ns=(3, 3))
    kl.data.load(many, progress=False)
    assert capsys.readouterr() == ("", "")


def test_without_a_place_for_the_cache_all_works(many, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kl.data.load(many).images.count == 100


# === Bad files ===


@pytest.fixture
def with_bad(many, tmp_path):
    """102 files: one is empty, one is cut off within its pixels."""
    (many / "class0" / "empty.jpg").write_bytes(b"")
    (many / "class1" / "cut.jpg").write_bytes(jpeg(height=200, width=200)[:-400])
    return many


def test_bad_headers_are_an_error_that_names_them(many):
    (many / "class0" / "empty.jpg").write_bytes(b"")
    (many / "class0" / "text.jpg").write_bytes(b"<html>")
    (many / "class0" / "link.jpg").symlink_to("nowhere")
    (many / "class0" / "huge.png").write_bytes(header_of_a_huge_png())
    with pytest.raises(ValueError, match=r"4 files of 104 cannot be read as pictures: .* and 1 more.*skip"):
        kl.data.load(many)
    with pytest.warns(UserWarning, match=r"4 files cannot be read and will be skipped"):
        dataset = kl.data.load(many, on_error="skip", max_failures=0.05)
    reasons = {pathlib.Path(path).name: reason for path, reason in dataset.failures.items()}
    assert reasons["empty.jpg"] == "empty, 0 bytes"
    assert reasons["text.jpg"].startswith("no JPEG, PNG")
    assert reasons["link.jpg"] == "a link to nothing"
    assert "pixels" in reasons["huge.png"]
    assert dataset.images.count == 100 == len(as_numpy(dataset))


def test_too_many_bad_headers_are_an_error(with_bad):
    (with_bad / "class0" / "empty2.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 files of 103 cannot be read, more than `max_failures` allows"):
        kl.data.load(with_bad, on_error="skip")


def test_bad_pixels_are_an_error_that_names_the_file(with_bad):
    (with_bad / "class0" / "empty.jpg").unlink()
    dataset = kl.data.load(with_bad)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"class1/cut\.jpg: damaged: .*Repair or remove"):
        as_numpy(dataset)


def test_bad_pixels_are_replaced_by_the_next_good_picture(with_bad, tmp_path):
    with pytest.warns(UserWarning, match="1 file cannot be read"):
        dataset = kl.data.load(with_bad, on_error="skip", max_failures=0.02)
    assert dataset.images.count == 101 and dataset.failures.count == 1
    paths = dataset.images.paths
    bad = next(i for i, path in enumerate(paths) if path.endswith("cut.jpg"))
    expected = [int(pathlib.Path(path).stem) if i != bad else None for i, path in enumerate(paths)]
    expected[bad] = expected[(bad + 1) % 101]
    for _ in range(2):  # counted once
        elements = as_numpy(dataset)
        assert [value_of(e) for e in elements] == expected
        assert [int(e["label"]) for e in elements] == [value % 4 for value in expected]
        assert dataset.failures.count == 2
    dataset.failures.write(tmp_path / "list.tsv")
    lines = (tmp_path / "list.tsv").read_text().splitlines()
    assert [line.split("\t")[0].rsplit("/", 1)[1] for line in lines] == ["empty.jpg", "cut.jpg"]
    assert lines[0].endswith("\tempty, 0 bytes")


def test_too_many_bad_pixels_are_an_error(with_bad):
    (with_bad / "class0" / "empty.jpg").unlink()
    dataset = kl.data.load(with_bad, on_error="skip", max_failures=0.005)
    with (
        pytest.warns(UserWarning),
        pytest.raises(tf.errors.InvalidArgumentError, match="more than `max_fail"),
    ):
        import warnings

        warnings.warn("none is raised where the error is", stacklevel=1)
        as_numpy(dataset)


def test_a_file_that_turned_into_a_folder_is_named(many):
    dataset = kl.data.load(many)
    victim = pathlib.Path(dataset.images.paths[5])
    victim.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be opened: No such file"):
        as_numpy(dataset)
    victim.mkdir()
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be opened: Is a directory"):
        as_numpy(dataset)


def test_files_and_folders_without_permission_are_named(many, monkeypatch):
    real_open, real_scan = open, os.scandir

    def closed_open(path, *arguments, **options):
        if os.fsencode(path).endswith(b"/0.png"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments, **options)

    def closed_scan(path):
        if os.fsencode(path).endswith(b"/class1"):
            raise PermissionError(13, "Permission denied")
        return real_scan(path)

    monkeypatch.setattr("builtins.open", closed_open)
    monkeypatch.setattr(os, "scandir", closed_scan)
    found = index.read_index(many, 10**8, progress=False)
    assert found.failures == {
        b"class0/0.png": "cannot be opened: Permission denied",
        b"class1": "cannot be listed: Permission denied",
    }


def test_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        kl.data.load(tmp_path)


def test_max_pixels_and_background_reach_the_folder(tmp_path):
    write(tmp_path, clear=encoded(picture("RGBA", 3, 4).point(lambda _: 0), "PNG"))
    assert values(kl.data.load(tmp_path, background=(9, 9, 9))) == [9]
    with pytest.raises(ValueError, match="4 x 3 pixels are more than `max_pixels`, 11, allows"):
        kl.data.load(tmp_path, max_pixels=11)


# === TFRecord files ===


def example(data, label=None, image="image/encoded", label_name="image/class/label"):
    features = {image: tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))}
    if label is not None:
        features[label_name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, records, **options):
    with tf.io.TFRecordWriter(str(path), **options) as writer:
        for record in records:
            writer.write(record)
    return path


def test_shards_are_read_in_order(tmp_path):
    for shard in range(3):
        records = [example(flat(10 * shard + n), n) for n in range(10)]
        write_records(tmp_path / f"a.tfrecord-0000{shard}-of-00003", records)
    dataset = kl.data.load(tmp_path / "a.tfrecord*")
    assert dataset.images is None and int(dataset.cardinality()) == 30
    assert values(dataset) == list(range(30))
    assert [int(e["label"]) for e in as_numpy(dataset)] == [*range(10)] * 3
    one = kl.data.load(tmp_path / "a.tfrecord-00001-of-00003")
    assert values(one) == list(range(10, 20))


def test_bytes_can_be_shuffled_before_they_are_decoded(tmp_path):
    write_records(tmp_path / "a.tfrecord", [example(flat(n), n) for n in range(30)])
    dataset = kl.data.load(tmp_path / "a.tfrecord")
    assert dataset.encoded.element_spec["image"] == tf.TensorSpec((), tf.string)
    shuffled = kl.data.decode_dataset(dataset.encoded.shuffle(30, seed=0))
    elements = as_numpy(shuffled)
    assert [value_of(e) for e in elements] == [int(e["label"]) for e in elements] != list(range(30))
    assert sorted(value_of(e) for e in elements) == list(range(30))


def test_other_feature_names_no_labels_and_compression(tmp_path):
    write_records(tmp_path / "a.tfrecord", [example(flat(3), 4, "image", "label")])
    (element,) = as_numpy(kl.data.load(tmp_path / "a.tfrecord"))
    assert value_of(element) == 3 and int(element["label"]) == 4
    write_records(tmp_path / "b.tfrecord", [example(flat(3))])
    assert set(kl.data.load(tmp_path / "b.tfrecord").element_spec) == {"image"}
    write_records(tmp_path / "c.tfrecord.gz", [example(flat(n)) for n in range(3)], options="GZIP")
    assert values(kl.data.load(tmp_path / "c.tfrecord.gz")) == [0, 1, 2]


def test_records_that_are_no_pictures_are_refused(tmp_path):
    (tmp_path / "text.tfrecord").write_text("nothing of the kind")
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    write_records(tmp_path / "other.tfrecord", [example(flat(0), image="pixels")])
    data = write_records(tmp_path / "whole.tfrecord", [example(flat(n)) for n in range(9)]).read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(data[:-5])
    for name, words in {
        "text": "no TFRecord file of tf.train.Example, or a damaged one",
        "empty": "must hold a record",
        "other": r"must hold an encoded picture as image/encoded or image. Received: \['pixels'\]",
        "cut": "cut off within record 8",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}\.tfrecord: .*{words}"):
            kl.data.load(tmp_path / f"{name}.tfrecord")
    with pytest.raises(ValueError, match='`split` of TFRecord files must be "train"'):
        kl.data.load(tmp_path / "whole.tfrecord", "test")


def test_bad_records_are_replaced(tmp_path):
    bad = (0, 5, 6, 19)
    records = [example(b"bad" if n in bad else flat(n), n) for n in range(20)]
    write_records(tmp_path / "a.tfrecord", records)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a\.tfrecord record 0: no JPEG"):
        as_numpy(kl.data.load(tmp_path / "a.tfrecord"))
    with pytest.warns(UserWarning, match="1 file cannot be read"):
        dataset = kl.data.load(tmp_path / "a.tfrecord", on_error="skip", max_failures=0.2)
        found = values(dataset)
    assert found == [1, 1, 2, 3, 4, 7, 7, 7, *range(8, 19), 18]
    assert dataset.failures.count == 4 and int(dataset.cardinality()) == 20


# === TensorFlow Datasets ===


class Own(tfds.core.GeneratorBasedBuilder):
    """JPEGs of varying size."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE = (None, None, 3)

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=self.SHAPE),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "text": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        splits = {"train": self._generate_examples(0), "test": self._generate_examples(20)}
        return splits | {"unlabelled": self._generate_examples(40, labelled=False)}

    def _generate_examples(self, first, labelled=True):
        for number in range(first, first + 20):
            pixels = np.full((3 + number % 3, 4, 3), number, np.uint8)
            label = number % 2 if labelled else -1
            yield number, {"image": pixels, "label": label, "text": "of no interest"}


def prepared(tmp_path, file_format):
    Own(data_dir=tmp_path, file_format=file_format).download_and_prepare()
    return {"data_dir": tmp_path}


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_builder_is_read_from_its_files(tmp_path, file_format):
    where = prepared(tmp_path, file_format)
    dataset = kl.data.load("tfds:own", "train", **where)
    assert set(dataset.element_spec) == {"image", "label"} and int(dataset.cardinality()) == 20
    assert sorted(values(dataset)) == list(range(20))
    assert all(int(e["label"]) == value_of(e) % 2 for e in as_numpy(dataset))
    head, tail = (values(kl.data.load("tfds:own", f"test[{part}]", **where)) for part in (":25%", "25%:"))
    assert len(head) == 5 and sorted(head + tail) == list(range(20, 40))
    with pytest.raises(
        ValueError, match="`split` must be one of test, train, unlabelled of tfds:own.*split='val'"
    ):
        kl.data.load("tfds:own", "val", **where)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_split_whose_labels_are_all_minus_one_has_none(tmp_path, file_format):
    where = prepared(tmp_path, file_format)
    dataset = kl.data.load("tfds:own", "unlabelled", **where)
    assert set(dataset.element_spec) == {"image"} and sorted(values(dataset)) == list(range(40, 60))
    assert file_format == "tfrecord" or (dataset.images.labelled, dataset.images.class_names) == (False, ())
    if file_format == "tfrecord":  # of several splits at once
        mixed = kl.data.load("tfds:own", "unlabelled[:5]+train[:5]", **where)
        assert sorted({int(e["label"]) for e in as_numpy(mixed)}) == [-1, 0, 1]


def test_arrays_whose_labels_are_all_minus_one_have_none():
    arrays = {"image": random_images(4), "label": np.array([-1, -1, -1, 2])}
    assert [int(e["label"]) for e in as_numpy(kl.data.load(arrays))] == [-1, -1, -1, 2]
    arrays["label"] = np.full(4, -1)
    assert set(kl.data.load(arrays).element_spec) == {"image"}


def test_array_record_is_read_in_any_order(tmp_path):
    images = kl.data.load("tfds:own", "train[5:]", **prepared(tmp_path, "array_record")).images
    assert (images.count, images.labelled, images.image_shape) == (15, True, (None, None, 3))
    assert images.class_names == ("even", "odd")
    in_order = values(images.fetch(tf.data.Dataset.range(15)))
    assert values(images.fetch(numbers(7, 0, 7))) == [in_order[7], in_order[0], in_order[7]]


def test_tfrecords_of_a_builder_are_streamed_as_bytes(tmp_path):
    dataset = kl.data.load("tfds:own", "train", **prepared(tmp_path, "tfrecord"))
    assert dataset.images is None
    element = next(iter(dataset.encoded))
    assert element["image"].dtype == tf.string and b"own-train" in element["name"].numpy()


@pytest.mark.parametrize(
    ("name", "shape"), [("cifar10", (32, 32, 3)), ("mnist", (28, 28, 1)), ("imagenette", (None, None, 3))]
)
def test_builders_of_tfds_are_read(name, shape, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # there is a network, or so it seems
    with tfds.testing.mock_data(num_examples=6):
        dataset = kl.data.load(f"tfds:{name}", "train")
        elements = as_numpy(dataset)
    assert len(elements) == 6 and set(elements[0]) == {"image", "label"}
    assert tuple(dataset.element_spec["image"].shape) == shape
    assert (dataset.encoded is not None) == (shape[0] is None)


def test_unknown_data_sets_are_refused_with_near_names(tmp_path):
    with pytest.raises(ValueError, match=r"such as .*cifar10.* Received: tfds:cifar11"):
        kl.data.load("tfds:cifar11", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"must name a data set of TensorFlow Datasets, or one.*tfds:zzzzzz"):
        kl.data.load("tfds:zzzzzz", data_dir=tmp_path)


def test_data_that_are_not_there_without_a_network(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    with pytest.raises(OSError, match=r"tfds:cifar10 does not lie in .* is not reachable. Check the network"):
        kl.data.load("tfds:cifar10", data_dir=tmp_path)


# === Command line ===


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


def test_command_describes_other_sources(tmp_path, capsys):
    status, out, _ = said(capsys, "fashion_mnist", "--split", "test[:50%]")
    assert status == 0 and "pictures    1,000" in out and "28 x 28 x 1, uint8" in out
    write_records(tmp_path / "a.tfrecord", [example(flat(n) if n else b"bad", n) for n in range(30)])
    status, out, _ = said(capsys, tmp_path / "a.tfrecord", "--verify")
    assert status == 1 and "PNG 29" in out and "record 0: no JPEG" in out and "labels      yes" in out
    prepared(tmp_path, "array_record")
    status, out, _ = said(capsys, "tfds:own", "--data_dir", tmp_path)
    assert status == 0 and "labels      yes, 2 classes" in out and "width       min 4" in out


def test_command_refuses_wrong_usage(tmp_path, capsys):
    assert said(capsys)[0] == 2
    assert said(capsys, tmp_path, "more")[0] == 2
    assert said(capsys, tmp_path, "--colour", "red")[0] == 2
    status, _, err = said(capsys, tmp_path / "none")
    assert status == 1 and "no such file or folder" in err
    status, out, _ = said(capsys, "--help")
    assert status == 0 and "--[no]verify" in out and "leoclr data NAME_OR_PATH" in out
