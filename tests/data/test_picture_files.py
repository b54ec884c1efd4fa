"""Pictures are found and their headers are read once."""

import os

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import terminal
from keras_leoclr.data.readers import files
from tests.pictures import encoded, jpeg, picture, png
from tests.sources import as_numpy, flat, values, write

pytestmark = pytest.mark.backend_free


def test_other_files_are_ignored_and_counted(tmp_path):
    write(tmp_path, a=flat(0))
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", ".hidden.png", "README", "b.TXT"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    found = files.read_index(tmp_path, 10**8)
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


def test_a_link_that_leads_to_itself_is_one_unreadable_file(tmp_path):
    write(tmp_path, **{f"train__a__{n}": flat(n) for n in range(3)})
    (tmp_path / "train" / "a" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "train" / "a" / "to.jpg").symlink_to("back.jpg")
    (tmp_path / "train" / "a" / "back.jpg").symlink_to("to.jpg")
    (tmp_path / "train" / "self").symlink_to("self")
    (tmp_path / "test").symlink_to("test")  # next to the splits
    (tmp_path / "train" / "gone").symlink_to("nowhere")
    found = files.read_index(tmp_path / "train", 10**8)
    assert found.failures == dict.fromkeys(
        (b"a/back.jpg", b"a/self.jpg", b"a/to.jpg"), "a link that leads to itself"
    )
    assert found.folders == [b"a"] and found.ignored == {"link that leads nowhere": 2}
    with pytest.raises(ValueError, match="3 files of 6 cannot be read .*leads to itself"):
        kl.data.load(tmp_path)
    with pytest.warns(UserWarning) as warned:
        source = kl.data.load(tmp_path, on_error="skip", max_failures=0.5)
    assert source.count == 3 and source.class_names == ("a",)
    assert "2 files in" in str(warned[0].message) and "link that leads nowhere 2" in str(warned[0].message)


def test_folders_that_lead_to_each_other_are_read_once_for_each_class(tmp_path):
    names = [f"c{number:02}" for number in range(12)]
    write(tmp_path, **{f"{name}__x": flat(number) for number, name in enumerate(names)})
    for name in names:
        for other in names:
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    found = files.read_index(tmp_path, 10**8)  # 12! ways
    assert len(found.headers) == 12 * 12 and found.folders == [name.encode() for name in names]
    assert found.ignored[files.LOOP] and found.ignored[files.AGAIN]


def test_pictures_of_formats_that_are_not_read_are_told_by_load(tmp_path):
    write(tmp_path, a=flat(0), b=flat(1))
    for name in ("x.HEIC", "y.heic", "z.avif", "more.zip", "notes.txt", "labels.json"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.warns(
        UserWarning, match=r"4 files in .* left out: \.zip 1, \.heic 2, \.avif 1. 2 pictures are"
    ):
        kl.data.load(tmp_path)


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
    found = files.read_index(many, 10**8, progress=False)
    assert found.failures == {
        b"class0/0.png": "cannot be opened: Permission denied",
        b"class1": "cannot be listed: Permission denied",
    }


def test_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        kl.data.load(tmp_path)
