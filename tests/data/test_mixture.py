"""Several places of pictures as one source: folders, patterns, lists and archives."""

import io
import os
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.data.readers import archives
from keras_leoclr.data.splits import SplitError
from tests.pictures import jpeg, png

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Folders a (cat, dog) and b (dog, owl), a list, a zip and a tar."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a/cat/0.jpg", "a/dog/1.png", "b/dog/2.jpg", "b/owl/3.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(number) if name.endswith("png") else jpeg(number))
    with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("top/cat/4.jpg", jpeg(4))
        file.writestr("top/fox/5.png", png(5), zipfile.ZIP_STORED)
        file.writestr("__MACOSX/cat/._4.jpg", b"x")
        file.writestr("top/readme.txt", b"x")
    with tarfile.open("t.tar", "w") as file:
        for name, data in (("./owl/6.jpg", jpeg(6)), ("./owl/7.png", png(7))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return tmp_path


def names(source):
    return sorted(path.rsplit("/", 1)[-1] for path in source.images.paths)


def by_name(source):
    elements = list(source.dataset.as_numpy_iterator())
    return {
        path.rsplit("/", 1)[-1]: element for path, element in zip(source.images.paths, elements, strict=True)
    }


def loaded(name, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return kl.data.load(name, *arguments, progress=False, **options)


def test_any_mixture_is_one_source_with_the_classes_of_all():
    source = loaded(["a", "b/*/*", "z.zip", "t.tar"])
    assert source.count == 8 and source.class_names == ("cat", "dog", "fox", "owl")
    found = by_name(source)
    classes = {name: source.class_names[element["label"]] for name, element in found.items()}
    assert [classes[name] for name in sorted(classes)] == "cat dog dog owl cat fox owl owl".split()
    again = loaded("a,b/*/*, z.zip,t.tar")
    assert again.images.paths == source.images.paths
    part = again.subset(np.array([5, 2]))
    for path, element in zip(part.images.paths, part.dataset.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(element["image"], found[path.rsplit("/", 1)[-1]]["image"])
    assert loaded(["a", "z.zip"], "train[:50%]").count == 2


def test_a_picture_in_an_archive_is_that_of_the_file(places):
    (places / "plain" / "cat").mkdir(parents=True)
    for file in ("4.jpg", "5.png", "6.jpg", "7.png"):
        data = png(int(file[0])) if file.endswith("png") else jpeg(int(file[0]))
        (places / "plain" / "cat" / file).write_bytes(data)
    plain = by_name(loaded("plain"))
    for name in ("z.zip", "t.tar"):
        for file, element in by_name(loaded(name)).items():
            np.testing.assert_array_equal(element["image"], plain[file]["image"])


def test_lists_name_pictures_relative_to_themselves(places):
    (places / "lists").mkdir()
    (places / "lists" / "some.txt").write_text("# mine\n../a/cat/0.jpg\n\n../b/owl/3.png\n../a/cat/0.jpg\n")
    source = loaded("lists/some.txt")
    assert names(source) == ["0.jpg", "3.png"] and not source.labelled
    table = "class,file\nred,a/cat/0.jpg\n,z.zip/top/fox/5.png\nblue,b/owl/3.png\n"
    (places / "table.csv").write_text(table)
    source = loaded("table.csv")
    assert source.class_names == ("blue", "red")
    assert {name: int(each["label"]) for name, each in by_name(source).items()} == {
        "0.jpg": 1,
        "3.png": 0,
        "5.png": -1,
    }
    (places / "folders.txt").write_text("a/cat/0.jpg\nb/owl/3.png\n")
    assert loaded("folders.txt").class_names == ("a", "b")


def test_missing_files_are_counted_and_named(places):
    (places / "some.txt").write_text("a/cat/0.jpg\na/gone.jpg\nz.zip/none.png\n")
    with pytest.raises(
        ValueError, match=r"2 files of 3 cannot be read .*gone.jpg \(named by some.txt, No such"
    ):
        loaded("some.txt")
    with pytest.warns(UserWarning, match="2 files cannot be read"):
        source = kl.data.load("some.txt", on_error="skip", max_failures=0.7)
    assert names(source) == ["0.jpg"]


def test_places_without_classes_take_the_labels_from_all():
    with pytest.warns(UserWarning, match="2 of 3 pictures lie in folders of classes and the others do not"):
        source = kl.data.load(["a", "b/owl/3.png"])
    assert not source.labelled and source.count == 3


def test_a_picture_in_two_places_is_taken_once_with_one_class():
    assert loaded(["a", "a/*/*.jpg"]).count == 2
    with pytest.raises(ValueError, match="must have the same class in all of them"):
        loaded(["a", "*/cat/*.jpg"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a/*/*.gif", "a pattern must match pictures.*matches nothing"),
        (["a", "none"], "one of several places is not there"),
        (["a", "c.bin"], "several places may be folders of pictures"),
        (["a", "voc"], "must be the only place"),
        ("bad.zip", "must be a .zip file, or a .tar file that is not compressed"),
        ("dots.zip", "names in an archive must not lead out of it"),
        ("root.tar", "names in an archive must not lead out of it"),
        ("bomb.zip", "times as large as the archive"),
        ("empty.txt", "a list of pictures must name at least one picture"),
        ("odd.csv", "must name a column file or path"),
        ("several.csv", "several labels per picture are read from labels.csv"),
        ("short.csv", "row 2 of a list of pictures must have 2 columns"),
        ("two.csv", "a picture must have one class"),
        ("quote.csv", "must be CSV with commas between the columns"),
        ("latin.txt", "must be text in UTF-8"),
    ],
)
def test_what_is_refused(places, name, words, monkeypatch):
    (places / "c.bin").write_bytes(b"x")
    (places / "voc").mkdir()
    (places / "voc" / "labels.csv").write_text("file,labels\n")
    (places / "bad.zip").write_bytes(b"x" * 99)
    with zipfile.ZipFile("dots.zip", "w") as file:
        file.writestr("x/../../y.jpg", jpeg(0))
    with tarfile.open("root.tar", "w") as file:
        file.addfile(tarfile.TarInfo("/etc/x.jpg"))
    monkeypatch.setattr(archives, "MOST_BYTES", 10_000)
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.bmp", bytes(1_000_000))
    (places / "empty.txt").write_text("# nothing\n")
    (places / "odd.csv").write_text("a,b\n1,2\n")
    (places / "several.csv").write_text("file,labels\na/cat/0.jpg,x|y\n")
    (places / "short.csv").write_text("file,class\na/cat/0.jpg\n")
    (places / "two.csv").write_text("file,class\na/cat/0.jpg,x\na/cat/0.jpg,y\n")
    (places / "quote.csv").write_text('file,class\n"a"b,"x\n')
    (places / "latin.txt").write_bytes(b"\xe9.jpg\n")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        loaded(name)


def test_splits_are_those_of_folders(places):
    for split in ("train", "test"):
        for place in ("c", "d"):
            (places / place / split / "cat").mkdir(parents=True)
            (places / place / split / "cat" / f"{place}{split}.png").write_bytes(png(1))
    assert names(loaded(["c", "d"], "test")) == ["ctest.png", "dtest.png"]
    with pytest.raises(SplitError, match="of several places must be"):
        loaded(["c", "z.zip"], "test")


def test_damaged_members_are_named(places, monkeypatch):
    data = bytearray((places / "z.zip").read_bytes())
    start = data.index(b"IDAT") + 20  # pixels of the picture that is stored
    data[start] ^= 255
    (places / "z.zip").write_bytes(data)
    with pytest.raises(ValueError, match="5.png .damaged: its checksum is not that of the archive"):
        loaded("z.zip")
    with pytest.raises(FileNotFoundError, match="not in the archive"):
        archives.open_file("z.zip/none.jpg")
    member = archives.Member(0, 3, 9, archives.DEFLATED)
    with pytest.raises(ValueError, match="damaged"):
        archives._unpacked(b"xyz", member)
    with pytest.raises(ValueError, match="does not hold the 9 bytes that its table says"):
        archives._unpacked(b"xyz", archives.Member(0, 3, 9))
    monkeypatch.setattr(archives, "members", lambda path: {b"x": archives.Member(1, 1, 1, crc=0)})
    with pytest.raises(ValueError, match="no file of the archive where its table says"):
        archives.open_file("z.zip/x")


def test_a_run_is_told_of_other_pictures_in_an_archive(places):
    from keras_leoclr.training.run_data import RunData

    before = RunData({"train": loaded("z.zip,a")}, "z.zip,a").record
    assert RunData({"train": loaded("z.zip,a")}, "z.zip,a").changes_since(before) == {}
    with zipfile.ZipFile("z.zip", "a") as file:
        file.writestr("top/fox/8.png", png(8))
    change = RunData({"train": loaded("z.zip,a")}, "z.zip,a").changes_since(before)["train"]
    assert change.added == ["z.zip/top/fox/8.png"] and not change.changed
    assert kl.data.load("z.zip,a").count == 5
    from keras_leoclr.data.given import named

    assert named(["z.zip", "a"]) == ("z.zip,a", None)
    with pytest.raises(ValueError, match="must have names without commas"):
        named(["a,b", "c"])


@pytest.mark.parametrize(("column", "names"), [("label", ("0", "1")), ("class", ("0", "1"))])
def test_minus_one_is_no_class_where_classes_are_numbers(places, column, names):
    rows = ["a/cat/0.jpg,1", "a/dog/1.png,-1", "b/dog/2.jpg,0", "b/owl/3.png,"]
    (places / "list.csv").write_text("\n".join([f"file,{column}", *rows]))
    source = loaded("list.csv")
    assert source.class_names == names
    found = {name: element["label"] for name, element in by_name(source).items()}
    assert found == {"0.jpg": 1, "1.png": -1, "2.jpg": 0, "3.png": -1}
    (places / "list.csv").write_text("\n".join([f"file,{column}", *rows[:2], "b/dog/2.jpg,dog"]))
    assert loaded("list.csv").class_names == ("-1", "1", "dog")


def test_what_a_pattern_cannot_read_is_named_and_skipped_as_in_a_folder(places):
    (places / "a" / "cat" / "dead.png").symlink_to("nowhere.png")
    (places / "a" / "cat" / "loop.png").symlink_to("loop.png")
    os.mkfifo(places / "a" / "cat" / "pipe.png")
    for name in ("a", "a/*/*.*"):
        words = r"`name_or_path`: 3 files of 5 cannot be read as pictures: .*dead.png \(a link to nothing"
        with pytest.raises(ValueError, match=words):
            loaded(name)
        with pytest.warns(UserWarning, match="3 files cannot be read"):
            source = kl.data.load(name, on_error="skip", max_failures=0.7)
        assert names(source) == ["0.jpg", "1.png"]
        reasons = {os.path.basename(path): reason for path, reason in source.failures.items()}
        assert reasons == {
            "dead.png": "a link to nothing",
            "loop.png": "a link that leads to itself",
            "pipe.png": "neither a file nor a folder",
        }


def test_a_place_that_is_a_link_to_another_is_not_taken_twice(places):
    (places / "c").symlink_to("a")
    (places / "d").symlink_to("a/dog")
    (places / "a" / "cat" / "empty.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 file cannot be read"):
        source = kl.data.load(["a", "c", "c/*/*", "d/*.png"], on_error="skip", max_failures=0.5)
    assert names(source) == ["0.jpg", "1.png"] and source.failures.count == 1
    assert source.class_names == ("cat", "dog")
    (places / "a" / "cat" / "empty.png").unlink()
    (places / "a" / "some.csv").write_text("file,class\ncat/0.jpg,lion\n")
    with pytest.raises(ValueError, match="must have the same class in all of them.*cat and lion"):
        kl.data.load(["a", "c/some.csv"])
