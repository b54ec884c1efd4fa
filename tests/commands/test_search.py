"""`leoclr index` and `leoclr search`, as they are typed."""

import dataclasses
import html.parser
import json
import os
import shutil
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import cli, search
from keras_leoclr.data.source_arguments import with_unknown_labels
from keras_leoclr.search import update
from keras_leoclr.search.encoder import READING
from tests.pictures import jpeg, png

pytest.importorskip("faiss")
SHARED = "ünï code"


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Two files with different weights."""
    folder = tmp_path_factory.mktemp("backbones")
    for name in ("first", "second"):
        keras.utils.set_random_seed(len(name))
        kl.backbones.resnet_small((8, 8, 3), widths=(8, 16)).save(folder / f"{name}.keras")
    return folder / "first.keras", folder / "second.keras"


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of six pictures with awkward names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pictures"
    (folder / SHARED).mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    (folder / SHARED / "with space & <b>.png").write_bytes(png(10))
    (folder / SHARED / "日本.jpg").write_bytes(jpeg(11))
    return folder


def run(capsys, *arguments):
    code = cli.main(["leoclr", *map(str, arguments)])
    return code, capsys.readouterr()


def indexed(capsys, folder, backbone, *more):
    code, printed = run(capsys, "index", folder, "--backbone", backbone, "--json", *more)
    assert code == 0, printed.err
    return json.loads(printed.out)


def counts(result):
    return [result[name] for name in ("kept", "added", "changed", "removed")]


def test_a_picture_finds_itself_and_its_copy_first(pictures, backbones, capsys):
    copy = pictures.parent / "copy.png"
    with Image.open(pictures / SHARED / "with space & <b>.png") as image:
        image.save(copy)
    indexed(capsys, pictures, backbones[0])
    queries = [pictures / SHARED / "日本.jpg", copy]
    arguments = ["search", *queries, "--index", "pictures.index", "--k", 3]
    code, printed = run(capsys, *arguments, "--json", "--page", "")
    assert code == 0 and not (pictures.parent / "search.html").exists()
    first, second = json.loads(printed.out)["results"]
    assert [len(first["hits"]), len(second["hits"])] == [3, 3]
    assert os.path.samefile(first["hits"][0]["path"], queries[0]) and first["hits"][0]["itself"]
    assert second["hits"][0]["path"].endswith("with space & <b>.png") and not second["hits"][0]["itself"]
    for result in (first, second):
        similarities = [hit["similarity"] for hit in result["hits"]]
        assert similarities[0] == pytest.approx(1, abs=1e-4) and similarities == sorted(similarities)[::-1]
    assert sum(hit["itself"] for hit in [*first["hits"], *second["hits"]]) == 1


@pytest.mark.backend_free
def test_similarities_are_cosines_of_the_backbones_features(pictures, backbones):
    encoder = search.Encoder.load(backbones[0])
    index = search.update_index(pictures, encoder, "own.index").index
    views = kl.LeOCLRViews(8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    backbone = keras.saving.load_model(backbones[0])
    with pytest.warns(UserWarning, match="without labels"):
        source = kl.data.load(str(pictures))
    assert source.images.paths == index.paths()
    # For a backbone of 8 pixels these JPEGs are large, so that they are decoded at half of their size.
    ((images, _),) = kl.data.image_batches(with_unknown_labels(source), views)
    features = np.asarray(backbone(images.numpy()))
    features = np.stack(features) / np.linalg.norm(features, axis=1, keepdims=True)
    ((_, hits),) = search.search(index, encoder, [index.paths()[2]], k=100)
    assert len(hits) == 6
    expected = dict(zip(index.paths(), features @ features[2], strict=True))
    for hit in hits:
        assert hit.similarity == pytest.approx(expected[hit.path], abs=1e-4)
    old = dataclasses.replace(
        index, backbone={name: encoder.about[name] for name in encoder.about if name not in READING}
    )
    read_as_before = encoder.reading_as(old.backbone)
    assert read_as_before.about == old.backbone and encoder.reading_as(index.backbone) == encoder
    ((_, hits),) = search.search(old, encoder, [index.paths()[2]], k=1)
    assert hits[0].similarity < 0.9999  # version 0.1.0 decoded it at full size


@pytest.mark.backend_free
def test_a_single_query_is_not_taken_for_its_letters(pictures, backbones):
    encoder = search.Encoder.load(backbones[0])
    index = search.update_index(pictures, encoder, "own.index").index
    for query in ("pictures/0.jpg", pictures / "0.jpg"):
        ((path, hits),) = search.search(index, encoder, query, k=2)
        assert path == str(query) and len(hits) == 2 and hits[0].itself
    every = list(search.search(index, encoder, index.paths()))
    assert all(-1 <= hit.similarity <= 1 for _, hits in every for hit in hits)
    for options, words in (
        ({"k": 0}, "`k` must be a whole number >= 1. Received: k=0"),
        ({"k": 2.5}, "`k` must be a whole number >= 1. Received: k=2.5"),
        ({"on_error": "ignore"}, '`on_error` must be "raise" or "skip". Received: on_error=.ignore.'),
    ):
        with pytest.raises(ValueError, match=words):
            next(search.search(index, encoder, query, **options))


@pytest.mark.backend_free
@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_only_new_and_changed_pictures_are_read_again(pictures, backbones, capsys, monkeypatch, kind):
    assert counts(indexed(capsys, pictures, backbones[0], "--kind", kind)) == [0, 6, 0, 0]
    encoded = []
    features = search.Encoder.features
    monkeypatch.setattr(
        search.Encoder,
        "features",
        lambda self, images, *a: encoded.extend(images.paths) or features(self, images, *a),
    )
    assert counts(indexed(capsys, pictures, backbones[0], "--kind", kind)) == [6, 0, 0, 0]
    assert encoded == []
    (pictures / "0.jpg").write_bytes(jpeg(20, height=50))
    (pictures / "1.jpg").unlink()
    (pictures / "new.png").write_bytes(png(21))
    assert counts(indexed(capsys, pictures, backbones[0], "--kind", kind)) == [4, 1, 1, 1]
    assert sorted(map(os.path.basename, encoded)) == ["0.jpg", "new.png"]
    updated = search.PictureIndex.read("pictures.index")
    again = search.update_index(pictures, search.Encoder.load(backbones[0]), "again.index", kind=kind).index
    rows = {name: row for row, name in enumerate(again.files)}
    assert updated.files.keys() == rows.keys()
    for row, name in enumerate(updated.files):
        mine, fresh = updated.vectors.reconstruct(row), again.vectors.reconstruct(rows[name])
        np.testing.assert_allclose(mine, fresh, atol=1e-5)


@pytest.mark.backend_free
def test_pictures_are_listed_as_often_whatever_their_number(pictures, backbones, monkeypatch):
    listed = []
    monkeypatch.setattr(
        update, "list", lambda names: listed.append(len(names)) or [*names], raising=False
    )  # a list of all pictures for each of them takes hours for a million
    encoder = search.Encoder.load(backbones[0])
    search.update_index(pictures, encoder, "six.index")
    six, listed[:] = len(listed), []
    for number in range(20, 26):
        (pictures / f"{number}.png").write_bytes(png(number))
    search.update_index(pictures, encoder, "twelve.index")
    assert len(listed) == six


@pytest.mark.backend_free
def test_paths_may_begin_with_the_home_folder(pictures, backbones, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures.parent))
    monkeypatch.setenv("USERPROFILE", str(pictures.parent))
    shutil.copy(backbones[0], pictures.parent / "own.keras")
    indexed(capsys, "~/pictures", "~/own.keras", "--output=~/own.index")
    index = search.PictureIndex.read("~/own.index")
    assert index.backbone["path"] == str(pictures.parent / "own.keras")
    assert not (pictures.parent / "~").exists()
    found = ["search", "~/pictures/0.jpg", "--index=~/own.index", "--page=~/own.html"]
    code, printed = run(capsys, *found)
    assert code == 0 and "1.0000 * 0.jpg" in printed.out, printed.err
    assert (pictures.parent / "own.html").is_file()


@pytest.mark.backend_free
def test_an_index_that_cannot_be_written_is_refused_before_the_work(pictures, backbones, capsys, monkeypatch):
    encoder = search.Encoder.load(backbones[0])
    monkeypatch.setattr(search.Encoder, "features", lambda *_: pytest.fail("features were computed"))
    with pytest.raises(ValueError, match="`path` must lie in a folder that exists. Received: path=none/x"):
        search.update_index(pictures, encoder, "none/x.index")
    with pytest.raises(ValueError, match="`batch_size` must be a whole number >= 1. Received: batch_size=0"):
        search.update_index(pictures, encoder, "x.index", batch_size=0)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0])
    words = "`--output` must lie in a folder that can be written to. Received: output="
    assert code == 1 and words in printed.err and "pictures.index" in printed.err
    output = ["--output", "x.index"]
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0], *output)
    assert code == 2 and "`--output` must lie in a folder that can be written to" in printed.err


@pytest.mark.backend_free
def test_folders_without_pictures_are_named_by_their_argument(tmp_path, backbones, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    code, printed = run(capsys, "index", tmp_path / "empty", "--backbone", backbones[0])
    assert code == 1 and "`folder` must hold pictures, files with one of the extensions" in printed.err
    asked = ["embed", tmp_path / "empty", "--backbone", backbones[0], "--output", tmp_path / "f.npz"]
    code, printed = run(capsys, *asked)
    assert code == 1 and "`source` must hold pictures, files with one of the extensions" in printed.err
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == []


@pytest.mark.backend_free
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_page_and_an_export_of_a_backbone_whose_name_is_not_utf_8(pictures, backbones, capsys):
    folder = os.fsdecode(os.fsencode(pictures.parent) + b"/own\xe9")
    os.mkdir(folder)
    shutil.copy(backbones[0], os.path.join(folder, "own.keras"))
    indexed(capsys, pictures, os.path.join(folder, "own.keras"))
    code, printed = run(capsys, "search", pictures / "0.jpg", "--index", "pictures.index")
    assert code == 0, printed.err
    assert r"own\xe9/own.keras" in (pictures.parent / "search.html").read_text(encoding="utf-8")
    code, printed = run(capsys, "export", os.path.join(folder, "own.keras"), "--images", 4)
    assert code == 0 and r"own\xe9/export/backbone.keras: keras" in printed.out
    printed.out.encode()  # what a terminal does


@pytest.mark.backend_free
def test_another_backbone_size_or_folder_is_refused(pictures, backbones, capsys):
    indexed(capsys, pictures, backbones[0])
    before = (pictures.parent / "pictures.index").read_bytes()
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[1])
    assert code == 1 and "`--backbone` must be the backbone that the index was made with" in printed.err
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0], "--image_size", 16)
    words = "`--image_size` must be the image size that the index was made with, 8. Received: image_size=16"
    assert code == 1 and words in printed.err
    query = pictures / "0.jpg"
    code, printed = run(capsys, "search", query, "--index", "pictures.index", "--backbone", backbones[1])
    assert code == 1 and "`--backbone` must be the backbone" in printed.err
    own = ["--backbone", backbones[0], "--output", "pictures.index"]
    code, printed = run(capsys, "index", pictures / SHARED, *own)
    assert code == 1 and "`--output` must be a new file or the index of this folder" in printed.err
    assert (pictures.parent / "pictures.index").read_bytes() == before
    assert counts(indexed(capsys, pictures, backbones[1], "--overwrite")) == [0, 6, 0, 0]


@pytest.mark.backend_free
def test_damaged_pictures_stop_it_or_are_skipped(pictures, backbones, capsys):
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "cut.jpg").write_bytes(jpeg(5)[:-300])
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0])
    assert code == 1 and "empty.jpg" in printed.err and not os.path.exists("pictures.index")
    (pictures / "empty.jpg").unlink()
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0])
    assert code == 1 and "cut.jpg: damaged" in printed.err and not os.path.exists("pictures.index")
    skip = ["--on_error", "skip"]
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0], *skip)
    assert code == 1 and "more than `--max_failures` allows" in printed.err
    result = indexed(capsys, pictures, backbones[0], *skip, "--max_failures", 0.2)
    assert counts(result) == [0, 6, 0, 0] and result["skipped"][0][0].endswith("cut.jpg")
    result = indexed(capsys, pictures, backbones[0], *skip, "--max_failures", 0.2)  # nothing else is new
    assert counts(result) == [6, 0, 0, 0] and len(result["skipped"]) == 1
    search_it = ["search", pictures / "cut.jpg", pictures / "0.jpg", "--index", "pictures.index"]
    code, printed = run(capsys, *search_it)
    assert code == 1 and "cut.jpg: damaged" in printed.err
    code, printed = run(capsys, *search_it, *skip)
    assert code == 0 and "cut.jpg: left out, damaged" in printed.out and "0.jpg" in printed.out


@pytest.mark.backend_free
def test_a_damaged_index_is_refused(pictures, backbones, capsys):
    indexed(capsys, pictures, backbones[0])
    path = pictures.parent / "pictures.index"
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("index.json"))
    place = whole.index(b"vectors.faiss") + 60
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    with zipfile.ZipFile(pictures.parent / "other.index", "w") as archive:
        archive.writestr("index.json", json.dumps(about | {"files": []}))
        archive.writestr("vectors.faiss", b"nothing")
    other = (pictures.parent / "other.index").read_bytes()
    for damaged in (whole[:-40], flipped, other, b"", b"text"):
        path.write_bytes(damaged)
        code, printed = run(capsys, "search", pictures / "0.jpg", "--index", path)
        assert code == 1 and "`--index` must be a file that `leoclr index` wrote" in printed.err
    code, printed = run(capsys, "search", pictures / "0.jpg", "--index", "none.index")
    assert code == 1 and "no such file" in printed.err


@pytest.mark.backend_free
def test_an_interrupted_update_leaves_the_index_as_it_was(pictures, backbones, capsys, monkeypatch):
    indexed(capsys, pictures, backbones[0])
    before = (pictures.parent / "pictures.index").read_bytes()
    (pictures / "new.png").write_bytes(png(21))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0])
    assert code == 1 and "No space left" in printed.err
    assert (pictures.parent / "pictures.index").read_bytes() == before
    assert not list(pictures.parent.glob("*.partial"))


class Page(html.parser.HTMLParser):
    """Attributes of the elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))


@pytest.mark.backend_free
def test_the_page_holds_its_pictures_and_asks_for_nothing(pictures, backbones, capsys):
    indexed(capsys, pictures, backbones[0])
    (pictures / "3.jpg").unlink()
    code, printed = run(capsys, "search", pictures / "0.jpg", pictures / "1.jpg", "--index", "pictures.index")
    assert code == 0 and "To look at: search.html" in printed.out
    assert "  1   1.0000 * 0.jpg" in printed.out
    text = (pictures.parent / "search.html").read_text(encoding="utf-8")
    page = Page(text)
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 2 + 12 - 2  # two queries with six hits each, one of which is gone
    assert all(image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in images)
    assert any("with space & <b>.png" in image["alt"] for image in images)
    fetched = [a for _, a in page.elements for key in ("src", "href") if a.get(key, "").startswith("http")]
    assert not fetched and "<b>." not in text and "default-src 'none'" in text
    assert text.count("the query itself") == 2 and text.count("cannot be read") == 2
    assert "prefers-color-scheme: dark" in text


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["index"], "`index` takes one folder. Received: none"),
        (["index", "x"], "`--backbone` must name a file"),
        (["index", "x", "--backbone", "b", "--kind", "fast"], "kind"),
        (["search", "x.jpg"], "`--index` must name a file that `leoclr index` wrote. Received: no --index"),
        (["search", "--index", "i"], "`search` takes one or more pictures. Received: none"),
    ],
)
def test_wrong_usage_of_index_and_search(arguments, words, capsys):
    code, printed = run(capsys, *arguments)
    assert code == 2 and words in printed.err


@pytest.mark.backend_free
def test_help_of_index_and_search(capsys):
    for command in ("index", "search"):
        code, printed = run(capsys, command, "--help")
        assert code == 0 and f"leoclr {command}" in printed.out and "--backbone" in printed.out


@pytest.mark.backend_free
def test_without_faiss_the_extra_is_named(pictures, backbones, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    code, printed = run(capsys, "index", pictures, "--backbone", backbones[0])
    assert code == 1 and "pip install 'keras-leoclr[search]'" in printed.err
