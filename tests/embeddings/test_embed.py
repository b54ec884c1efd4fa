"""`leoclr embed` and `kl.embed`: the features, the files, what is resumed and what is refused."""

import contextlib
import csv
import json
import pathlib
import re
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.evaluation import features as features_module
from keras_leoclr.runs.files import Lock
from tests.pictures import jpeg, png

backend_free = pytest.mark.backend_free


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A file of a backbone that normalises images, of 8 x 8 pixels."""
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    keras.utils.set_random_seed(3)
    plain = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    kl.backbones.with_normalization(plain, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Five pictures of two classes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        folder = tmp_path / "pictures" / ("cat" if number % 2 else "dog, wet")
        folder.mkdir(parents=True, exist_ok=True)
        name, data = (f"日本 {number}.jpg", jpeg(number)) if number else ("0.png", png(0))
        (folder / name).write_bytes(data)
    return tmp_path / "pictures"


def run(capsys, *arguments):
    code = cli.main(["leoclr", *map(str, arguments)])
    return code, capsys.readouterr()


def test_features_are_those_of_the_backbone(pictures, backbone, tmp_path):
    found = kl.embed(pictures, backbone, tmp_path / "all.npz", batch_size=2, verbose=False)
    views = kl.LeOCLRViews(8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))
    source = kl.data.load(pictures)
    plain = kl.backbones.load(backbone, normalization=False, verbose=False)
    ((images, labels),) = kl.data.image_batches(source, views, 5)
    expected = np.asarray(plain.predict_on_batch(np.asarray(images)))
    np.testing.assert_allclose(found.features, expected, atol=1e-5)
    assert found.paths == source.images.paths and found.class_names == ("cat", "dog, wet")
    np.testing.assert_array_equal(found.labels, np.asarray(labels))
    of_model = kl.embed(source, keras.saving.load_model(backbone), verbose=False)
    np.testing.assert_allclose(of_model.features, expected, atol=1e-5)


@backend_free
def test_evaluation_and_index_have_the_same_features(pictures, backbone, tmp_path):
    search = pytest.importorskip("keras_leoclr.search")
    pytest.importorskip("faiss")
    found = kl.embed(pictures, backbone, verbose=False)
    kl.evaluate(
        backbone,
        {"train": kl.data.load(pictures), "test": kl.data.load(pictures)},
        "quality",
        workdir=tmp_path / "judged",
        verbose=False,
    )
    kept = [np.load(path) for path in (tmp_path / "judged").rglob("features.npy")]
    assert kept
    for features in kept:
        np.testing.assert_allclose(found.features, features, atol=1e-5)
    index = search.update_index(pictures, search.Encoder.load(backbone), "own.index").index
    unit = found.features / np.linalg.norm(found.features, axis=1, keepdims=True)
    assert index.paths() == found.paths
    np.testing.assert_allclose(index.vectors.reconstruct_n(0, 5), unit, atol=1e-5)


@backend_free
def test_numpy_and_faiss_read_the_npz_file(pictures, backbone, capsys):
    faiss = pytest.importorskip("faiss")
    asked = ["embed", pictures, "--backbone", backbone, "--output", "f.npz", "--json"]
    code, printed = run(capsys, *asked)
    facts = json.loads(printed.out)
    assert code == 0 and facts["pictures"] == 5 and facts["features"] == 16 and facts["labelled"]
    with np.load("f.npz", allow_pickle=False) as file:
        found = dict(file)
    assert sorted(found) == ["about", "class_names", "features", "label", "path"]
    features = found["features"]
    assert features.dtype == np.float32 and features.flags["C_CONTIGUOUS"]
    index = faiss.IndexFlatL2(16)
    index.add(features)
    assert index.search(features, 1)[1][:, 0].tolist() == list(range(5))
    for path, label in zip(found["path"], found["label"], strict=True):
        assert found["class_names"][label] in path
    about = json.loads(str(found["about"]))
    assert about["image_size"] == 8 and about["precision"] == "float32"


@backend_free
def test_csv_holds_the_same_numbers_to_the_bit(pictures, backbone):
    found = kl.embed(pictures, backbone, "f.csv", verbose=False)
    with open("f.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][:4] == ["path", "label", "class", "feature_0"] and len(rows) == 6
    assert [row[0] for row in rows[1:]] == found.paths and {row[2] for row in rows[1:]} == {"cat", "dog, wet"}
    np.testing.assert_array_equal(np.array([row[3:] for row in rows[1:]], "float32"), found.features)
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv("f.csv")
    np.testing.assert_allclose(frame.filter(like="feature_"), found.features)


@backend_free
def test_parquet_and_several_labels(backbone, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    arrays = {"image": images, "label": labels, "class_names": ["a", "b", "c"]}
    found = kl.embed(arrays, backbone, tmp_path / "f.parquet", verbose=False)
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["number", "labels", "features"]
    assert table["labels"].to_pylist() == [["a", "c"], [], ["b"], ["a", "b", "c"]]
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), "float32"), found.features)
    kl.embed(arrays, backbone, tmp_path / "f.csv", verbose=False)
    second = (tmp_path / "f.csv").read_text().splitlines()[1]
    assert second.startswith("0,a|c,")
    kl.embed({"image": images}, backbone, tmp_path / "f.npz", verbose=False)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["about", "features", "number"]


@backend_free
def test_an_interrupted_call_goes_on_with_the_batches_that_were_kept(
    pictures, backbone, monkeypatch, tmp_path
):
    whole = kl.embed(pictures, backbone, batch_size=1, verbose=False)
    monkeypatch.setattr(features_module, "SAVE_EVERY", 1)
    batches, computed = features_module._feature_batches, []

    def dies(*arguments, **options):
        for number, pair in enumerate(batches(*arguments, **options)):
            if number == 3:
                raise KeyboardInterrupt
            yield pair

    def counts(*arguments, **options):
        for pair in batches(*arguments, **options):
            computed.append(pair)
            yield pair

    monkeypatch.setattr(features_module, "_feature_batches", dies)
    with pytest.raises(KeyboardInterrupt):
        kl.embed(pictures, backbone, "f.npz", batch_size=1, verbose=False)
    assert (tmp_path / "f.npz.unfinished").is_dir() and not (tmp_path / "f.npz").exists()
    monkeypatch.setattr(features_module, "_feature_batches", counts)
    found = kl.embed(pictures, backbone, "f.npz", batch_size=1, verbose=False)
    assert len(computed) == 2 and not (tmp_path / "f.npz.unfinished").exists()
    np.testing.assert_array_equal(found.features, whole.features)
    np.testing.assert_array_equal(found.labels, whole.labels)


@backend_free
def test_an_interrupted_stream_leaves_no_row_to_another(backbone, monkeypatch, tmp_path):
    monkeypatch.setattr(features_module, "SAVE_EVERY", 1)

    def stream(value, stop=None):
        def pictures():
            for number in range(4):
                if number == stop:
                    raise RuntimeError("power off")
                yield {"image": np.full((8, 8, 3), value * (number + 1), np.uint8)}

        spec = {"image": tf.TensorSpec((8, 8, 3), tf.uint8)}
        return tf.data.Dataset.from_generator(pictures, output_signature=spec).apply(
            tf.data.experimental.assert_cardinality(4)
        )

    with pytest.raises(Exception, match="power off"):
        kl.embed(stream(10, stop=3), backbone, tmp_path / "f.npz", batch_size=1, verbose=False)
    assert (tmp_path / "f.npz.unfinished").is_dir()
    found = kl.embed(stream(50), backbone, tmp_path / "f.npz", batch_size=1, verbose=False)
    np.testing.assert_array_equal(found.features, kl.embed(stream(50), backbone, verbose=False).features)


@backend_free
def test_two_processes_do_not_write_the_same_file(pictures, backbone, capsys):
    folder = pictures.parent / "f.npz.unfinished"
    (folder / "features").mkdir(parents=True)  # what the other process has computed
    stream = tf.data.Dataset.from_tensors({"image": np.zeros((8, 8, 3), np.uint8)})
    other = Lock(folder / "lock")
    other.take()
    with contextlib.ExitStack() as held:
        held.callback(other.free)
        call = ["embed", pictures, "--backbone", backbone, "--output", "f.npz"]
        code, printed = run(capsys, *call)
        words = "`--output` must not be written by another process at the same time. Received: output=f.npz"
        assert code == 1 and words in printed.err and "which process " in printed.err
        with pytest.raises(ValueError, match="`output` must not be written by another process"):
            kl.embed(stream, backbone, "f.npz", verbose=False)
    assert (folder / "features").is_dir()
    kl.embed(stream, backbone, "f.npz", verbose=False)
    assert not folder.exists()


@backend_free
def test_pictures_that_cannot_be_read_have_no_row(pictures, backbone, capsys, monkeypatch):
    (pictures / "cat" / "cut.jpg").write_bytes(jpeg(9)[:-300])
    call = ["embed", pictures, "--backbone", backbone, "--output", "f.csv"]
    code, printed = run(capsys, *call)
    assert code == 1 and "cut.jpg: damaged" in printed.err
    from keras_leoclr.embeddings import extraction

    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:  # `undo` would also leave the temporary folder
        patched.setattr(extraction.shutil, "rmtree", full)  # after the features were completed
        code, printed = run(capsys, *call, "--on_error", "skip")
    assert code == 1 and "No space left" in printed.err
    code, printed = run(capsys, *call, "--on_error", "skip", "--overwrite")
    assert code == 0 and "cut.jpg: damaged" in printed.out and "5 pictures with labels" in printed.out
    with open(call[-1]) as file:
        assert "cut.jpg" not in file.read()


@backend_free
def test_what_is_refused(pictures, backbone, capsys, monkeypatch):
    def refused(*more, output="f.npz", source=pictures):
        code, printed = run(capsys, "embed", source, "--backbone", backbone, "--output", output, *more)
        assert code
        return printed.err

    with open("f.npz", "w") as file:
        file.write("mine")
    assert "must name a file that does not exist yet" in refused()
    assert open("f.npz").read() == "mine"
    assert "`--output` must be a file that ends with .npz, .csv, .parquet" in refused(output="f.txt")
    assert "`--output` must lie in a folder that exists" in refused(output="none/f.npz")
    skipping = refused("--on_error", "skip", output="g.npz", source="fashion_mnist")
    assert "only if the pictures are files" in skipping
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'keras-leoclr[parquet]'" in refused(output="f.parquet")
    code, printed = run(capsys, "embed", pictures, "--output", "f.csv")
    assert code == 2 and "`--backbone` must name a file" in printed.err
    code, printed = run(capsys, "embed", pictures, "--backbone", "random", "--output", "f.csv")
    assert code == 1 and "Received: backbone='random'" in printed.err


@backend_free
def test_a_range_of_values_is_refused_beside_images_that_are_read_already(backbone, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    source = kl.data.load({"image": images})
    for given in (source, {"train": source}, tf.data.Dataset.from_tensor_slices({"image": images})):
        with pytest.raises(ValueError, match=r"`value_range` must be given to `data.load`.*\(0, 10\)"):
            kl.embed(given, backbone, value_range=(0, 10), verbose=False)
    shutil.copy(backbone, tmp_path / "backbone.keras")
    (tmp_path / "recipe.json").write_text(json.dumps({"value_range": [0, 1000]}))
    assert "value_range" not in kl.embed(source, tmp_path, verbose=False).about
    assert kl.embed({"image": images}, tmp_path, verbose=False).about["value_range"] == [0, 1000]


@backend_free
def test_backbones_of_other_sizes_and_channels(pictures, tmp_path):
    def of(*shape):
        images = keras.Input(shape)
        return keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images)))

    for shape, words in (
        ((None, None, 3), "a backbone of any size: images are made square. Received: none"),
        ((8, 12, 3), "a backbone of 8 x 12 pixels: images are made square. Received: none"),
    ):
        with pytest.raises(ValueError, match=f"`image_size` must be given for {words}"):
            kl.embed(pictures, of(*shape), verbose=False)
        assert kl.embed(pictures, of(*shape), image_size=8, verbose=False).features.shape == (5, 4)
    for size in (-3, 7.5):
        with pytest.raises(
            ValueError, match=f"`image_size` must be a whole number >= 0. Received: .*={size}"
        ):
            kl.embed(pictures, of(8, 8, 3), image_size=size, verbose=False)
    of(8, 8, 4).save(tmp_path / "four.keras")
    for backbone in (of(8, 8, 4), tmp_path / "four.keras"):
        with pytest.raises(ValueError, match="`backbone` must normalise images by itself, .* of 3 channels"):
            kl.embed(pictures, backbone, verbose=False)


@backend_free
def test_paths_may_begin_with_the_home_folder(pictures, backbone, monkeypatch):
    home = pictures.parent
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    shutil.copy(backbone, home / "own.keras")
    found = kl.embed("~/pictures", "~/own.keras", "~/f.npz", verbose=False)
    assert (home / "f.npz").is_file() and found.about["backbone"] == str(home / "own.keras")
    with pytest.raises(ValueError, match="does not exist yet"):
        kl.embed("~/pictures", "~/own.keras", "~/f.npz", verbose=False)
    assert not (home / "~").exists() and not (home / "f.npz.unfinished").exists()


@backend_free
def test_a_slice_in_another_precision_without_pyarrow(pictures, backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    kl.embed(pictures, backbone, "f.npz", split="train[:2]", precision="mixed_bfloat16", verbose=False)
    with np.load("f.npz") as file:
        assert len(file["features"]) == 2 and "mixed_bfloat16" in str(file["about"])


@backend_free
def test_the_snippet_of_the_page_runs(pictures, backbone):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "embed.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.S)
    snippet = snippet.replace('"DIR"', repr(str(pictures))).replace('"RUN"', repr(str(backbone)))
    exec(compile(snippet, "docs/embed.md", "exec"), {})
    assert pathlib.Path("features.npz").is_file()
