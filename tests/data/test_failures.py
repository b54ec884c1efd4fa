"""Pictures that cannot be read: named, counted, replaced."""

import pathlib

import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import open_split
from tests.pictures import header_of_a_huge_png
from tests.sources import as_numpy, flat, value_of, write

pytestmark = pytest.mark.backend_free


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


@pytest.mark.parametrize(
    ("good", "bad", "allowed"), [(1, 1, True), (49, 1, True), (48, 2, False), (198, 2, True)]
)
def test_without_a_share_one_file_may_always_fail(tmp_path, good, bad, allowed):
    write(tmp_path, **{f"g{n}": flat(1) for n in range(good)})
    for number in range(bad):
        (tmp_path / f"bad{number}.jpg").write_bytes(b"<html>")
    if allowed:
        with pytest.warns(UserWarning, match="cannot be read and will be skipped"):
            assert kl.data.load(tmp_path, on_error="skip").count == good
    else:
        with pytest.raises(ValueError, match="allow more. Received: max_failures=0.01, the default"):
            kl.data.load(tmp_path, on_error="skip")
    with pytest.raises(ValueError, match="more than `max_failures` allows.*Received: max_failures=0$"):
        kl.data.load(tmp_path, on_error="skip", max_failures=0.0)


def test_recipes_say_how_many_may_fail(tmp_path):
    write(tmp_path, **{f"g{n}": flat(1) for n in range(4)})
    (tmp_path / "bad1.jpg").write_bytes(b"")
    (tmp_path / "bad2.jpg").write_bytes(b"")
    recipe = Recipe(dataset=str(tmp_path), on_error="skip", max_failures=0.4)
    with pytest.warns(UserWarning, match="2 files cannot be read"):
        assert open_split(recipe, "train").count == 4
    with pytest.raises(ValueError, match="more than `max_failures` allows"):
        open_split(Recipe(dataset=str(tmp_path), on_error="skip"), "train")
    with pytest.raises(ValueError, match=r"`max_failures` must lie in \[0, 1\]. Received: max_failures=2"):
        Recipe(max_failures=2.0)
