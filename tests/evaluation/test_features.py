"""Features of a frozen backbone, and their cache, on every backend."""

import itertools
import json

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.data import as_source
from keras_leoclr.data.given import IN_PYTHON
from keras_leoclr.evaluation import features as module
from keras_leoclr.evaluation import predictors
from keras_leoclr.views.preprocessing import Preprocessing
from tests.pictures import jpeg
from tests.sources import example, flat, write_records

IDENTITY = {"dataset": "random", "split": "test"}


def backbone_with(seed=0):
    """A convolution, BatchNorm with statistics and feature maps, weights drawn by NumPy."""
    images = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(8, 3, activation="relu")(images)
    backbone = keras.Model(images, keras.layers.BatchNormalization(epsilon=1e-3)(maps))
    rng = np.random.default_rng(seed)
    backbone.set_weights([0.1 + rng.random(w.shape) - 0.5 * (w.ndim == 4) for w in backbone.get_weights()])
    return backbone


def batches(count=10, size=3, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, 8, 8, 3)).astype("float32")
    return [(images[i : i + size], np.arange(i, min(i + size, count))) for i in range(0, count, size)]


def numpy_features(backbone, images):
    kernel, bias, gamma, beta, mean, variance = backbone.get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    maps = np.maximum(np.einsum("nhwcyx,yxcf->nhwf", windows, kernel) + bias, 0)
    return ((maps - mean) / np.sqrt(variance + 1e-3) * gamma + beta).mean(axis=(1, 2))


def test_features_are_those_of_numpy_on_every_backend():
    backbone = backbone_with()
    features, labels = evaluation.extract_features(backbone, batches())
    images = np.concatenate([images for images, _ in batches()])
    np.testing.assert_allclose(features, numpy_features(backbone, images), atol=1e-4)
    assert labels.tolist() == list(range(10))


def test_cached_features_are_mapped_and_not_computed_again(tmp_path, monkeypatch):
    backbone = backbone_with()
    plain, labels = evaluation.extract_features(backbone, batches())
    made = evaluation.extract_features(backbone, batches(), cache=tmp_path, identity=IDENTITY)
    monkeypatch.setattr(module, "_fill", lambda *_: pytest.fail("computed again"))
    # another model object, its layers numbered otherwise, with the same weights
    again = evaluation.extract_features(backbone_with(), [], cache=tmp_path, identity=IDENTITY)
    for features, found in (made, again):
        assert isinstance(features, np.memmap) and not features.flags.writeable
        np.testing.assert_array_equal(features, plain)
        np.testing.assert_array_equal(found, labels)
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert json.loads((folder / "about.json").read_text())["identity"] == IDENTITY


def test_another_backbone_or_other_data_have_features_of_their_own(tmp_path):
    backbone = backbone_with()
    changed = backbone_with()
    weights = changed.get_weights()
    weights[0][0, 0, 0, 0] = np.nextafter(weights[0][0, 0, 0, 0], 1)  # a single bit
    changed.set_weights(weights)
    for one, identity in ((backbone, IDENTITY), (changed, IDENTITY), (backbone, {"split": "train"})):
        evaluation.extract_features(one, batches(), cache=tmp_path, identity=identity)
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 3
    with pytest.raises(ValueError, match="`identity` must be given with `cache`"):
        evaluation.extract_features(backbone, batches(), cache=tmp_path)


def test_checksum_sees_the_wiring():
    def model(crossed):
        images = keras.Input((4, 4, 3))
        a, b = (keras.layers.Conv2D(3, 1, kernel_initializer="ones", name=name) for name in "ab")
        out = b(keras.layers.ReLU()(a(images))) if not crossed else keras.layers.ReLU()(b(a(images)))
        return keras.Model(images, out)

    same, again, crossed = model(False), model(False), model(True)
    assert module.checksum(same) == module.checksum(again) != module.checksum(crossed)


def test_an_interrupted_extraction_goes_on_where_it_was_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    backbone = backbone_with()
    how = {"cache": tmp_path, "identity": IDENTITY}

    def breaks():
        yield from itertools.islice(batches(), 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation.extract_features(backbone, breaks(), **how)
    assert not list(tmp_path.rglob("*.npy"))  # nothing looks finished
    computed = []
    predict = keras.Model.predict_on_batch

    def counted(self, images):
        computed.append(len(images))
        return predict(self, images)

    monkeypatch.setattr(keras.Model, "predict_on_batch", counted)
    features, labels = evaluation.extract_features(backbone, batches(), **how)
    assert computed == [3, 3]  # of four batches two were saved, the third was lost; the last is filled up
    monkeypatch.undo()
    plain = evaluation.extract_features(backbone, batches())
    np.testing.assert_array_equal(features, plain[0])
    np.testing.assert_array_equal(labels, plain[1])


def test_an_interrupted_extraction_goes_on_with_batches_of_another_size(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 1)
    backbone, how = backbone_with(), {"cache": tmp_path, "identity": IDENTITY}
    images, labels = (np.concatenate(part) for part in zip(*batches(), strict=True))

    def of_size(size, stop):
        for first in range(0, stop, size):
            yield images[first : first + size], labels[first : first + size]

    def breaks():
        yield from of_size(3, 6)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation.extract_features(backbone, breaks(), **how)
    features, found = evaluation.extract_features(backbone, of_size(4, 10), **how)
    plain, _ = evaluation.extract_features(backbone, batches())
    np.testing.assert_allclose(features, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found, labels)


def test_features_in_lower_precision_are_close_and_leave_the_backbone_alone(tmp_path):
    backbone = backbone_with()
    exact, _ = evaluation.extract_features(backbone, batches())
    rounded, _ = evaluation.extract_features(backbone, batches(), precision="mixed_bfloat16")
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()
    assert backbone.layers[1].compute_dtype == "float32"
    with pytest.raises(ValueError, match="`precision` must be one of float32, mixed_bfloat16"):
        evaluation.extract_features(backbone, batches(), precision="float8")


@pytest.mark.backend_free
def test_identity_follows_the_content_of_arrays_and_folders(tmp_path):
    from PIL import Image

    arrays = {"image": np.zeros((3, 4, 4, 3), np.uint8), "label": np.arange(3)}
    first = evaluation.data_identity(kl.data.load(arrays), "mine", "train")
    arrays["image"][0, 0, 0, 0] = 1
    assert evaluation.data_identity(kl.data.load(arrays), "mine", "train") != first
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "x.png"
    Image.new("RGB", (4, 4)).save(path)
    first = evaluation.data_identity(kl.data.load(tmp_path), tmp_path, "train")
    assert evaluation.data_identity(kl.data.load(tmp_path), tmp_path, "train") == first
    Image.new("RGB", (5, 5)).save(path)
    assert evaluation.data_identity(kl.data.load(tmp_path), tmp_path, "train") != first


@pytest.mark.backend_free
def test_identity_tells_parts_of_a_stream_apart(tmp_path):
    write_records(tmp_path / "a.tfrecord", [example(flat(n), n) for n in range(6)])
    records = kl.data.load(tmp_path / "a.tfrecord")
    stream = as_source(records.dataset)

    def identity(source):
        return evaluation.features_identity(source, "mine", "train", Preprocessing(8))

    for source in (records, stream):
        parts = [source.sample(3, 0), source.sample(3, 1), source.take(3), source.skip(3)]
        parts += [source.skip(1).take(3), source.take(4).skip(1), source.subset(np.arange(3)).subset([0, 2])]
        found = [json.dumps(identity(part)) for part in [source, *parts]]
        assert len(set(found)) == len(found)
        assert identity(source.sample(3, 0)) == identity(parts[0])
        # what is whole has the identity that it always had, and so have the records of runs
        whole = {"dataset": "mine", "split": "train", "count": 6}
        for same in (source, source.take(6), source.take(-1), source.skip(0), source.subset(np.arange(6))):
            about = identity(same)
            assert {name: about[name] for name in whole} == whole and "part" not in about
        assert "part" not in evaluation.data_identity(parts[0], "mine", "train")


@pytest.mark.backend_free
@pytest.mark.filterwarnings("ignore:.*hold no pictures")
def test_identity_follows_the_names_of_classes_and_how_values_are_read(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", np.zeros((4, 4, 1), np.uint16))

    def identity(**reading):
        source = kl.data.load(tmp_path, channels=1, **reading)
        return evaluation.features_identity(source, str(tmp_path), "train", Preprocessing(8, (0.5,), (0.5,)))

    first = identity()
    assert identity() == first and identity(value_range=(0, 4095)) != first
    (tmp_path / "ape").mkdir()  # a class without pictures, which moves the number of the class bee
    assert identity() != first


@pytest.mark.backend_free
def test_identity_follows_how_pictures_are_read_where_that_changes_them(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(jpeg(0, height=40, width=60))

    def identity(preprocessing, source=None):
        source = source or kl.data.load(tmp_path)
        return evaluation.features_identity(source, "mine", "train", preprocessing)

    whole = identity(Preprocessing(8))
    assert identity(Preprocessing(8, antialias=True)) == whole | {"antialias": True}
    # 8 pixels need 427 of the 2,400, which half of the sides have; 20 pixels need more than these.
    assert identity(kl.LeOCLRViews(8)) == whole | {"least_pixels": 427}
    assert identity(kl.LeOCLRViews(20)) == whole | {"size": 20}
    arrays = kl.data.load({"image": np.zeros((2, 40, 60, 3), "uint8"), "label": [0, 1]})
    assert identity(kl.LeOCLRViews(8), arrays) == identity(Preprocessing(8), arrays)
    write_records(tmp_path / "a.tfrecord", [example(jpeg(0), 0)])
    stream = kl.data.load(tmp_path / "a.tfrecord")  # of pictures whose sizes are not known
    found = identity(kl.LeOCLRViews(8), stream)
    assert found == identity(Preprocessing(8), stream) | {"least_pixels": 427}


@pytest.mark.backend_free
def test_identity_follows_the_files_of_a_stream_that_has_a_name(tmp_path):
    def identity(shift, name):
        write_records(tmp_path / "a.tfrecord", [example(flat(n + shift), n) for n in range(3)])
        return evaluation.features_identity(kl.data.load(tmp_path / "a.tfrecord"), name, "train", views)

    views, path = Preprocessing(8), str(tmp_path / "a.tfrecord")
    assert identity(0, path) != identity(5, path)
    assert identity(0, IN_PYTHON) is None and identity(0, "") is None


DEVICES = ("cpu", "cpu") if keras.backend.backend() == "torch" else ("cpu:0", "cpu:1")


def test_several_devices_share_the_batches_and_keep_their_order(monkeypatch):
    backbone, used = backbone_with(), []
    plain = evaluation.extract_features(backbone, batches(count=20))
    enter = keras.device
    monkeypatch.setattr(keras, "device", lambda name: used.append(name) or enter(name))
    made = evaluation.extract_features(backbone, batches(count=20), devices=DEVICES)
    np.testing.assert_allclose(made[0], plain[0], rtol=1e-6)
    np.testing.assert_array_equal(made[1], plain[1])
    assert sorted(used) == sorted(
        [*DEVICES, *(DEVICES[i % 2] for i in range(7))]
    )  # the copies, then 7 batches


def test_a_copy_of_the_backbone_lies_on_its_device():
    if keras.backend.backend() == "torch":
        pytest.skip("torch has one CPU device")
    backbone = backbone_with()
    with predictors.predicting(backbone, devices=DEVICES) as (_, made):
        predict = made[1]
    (model,) = [c.cell_contents for c in predict.__closure__ if isinstance(c.cell_contents, keras.Model)]
    value = model.variables[0].value
    place = value.device if keras.backend.backend() == "tensorflow" else str(next(iter(value.devices())))
    assert place.endswith("1"), place
    images = batches()[0][0]
    np.testing.assert_allclose(predict(images), numpy_features(backbone_with(), images), atol=1e-4)


@pytest.mark.parametrize("devices", [(), DEVICES])
@pytest.mark.parametrize("precision", [None, "mixed_bfloat16"])
def test_what_is_compiled_stays_from_one_measurement_to_the_next(devices, precision, monkeypatch):
    backbone = backbone_with()
    shapes, step = [], keras.Model.predict_step
    monkeypatch.setattr(
        keras.Model, "predict_step", lambda self, *args: shapes.append(args) or step(self, *args)
    )
    first, _ = evaluation.extract_features(backbone, batches(), devices=devices, precision=precision)
    seen = [keras.tree.map_structure(np.shape, args[-1]) for args in shapes]
    assert {str(shape) for shape in seen} == {str(seen[0])}, "the last batch was not filled up"
    if keras.backend.backend() != "torch":  # Python runs when a function is compiled
        assert len(seen) == max(len(devices), 1)
    backbone.set_weights([2 * weight for weight in backbone.get_weights()])
    del shapes[:]
    again, _ = evaluation.extract_features(backbone, batches(), devices=devices, precision=precision)
    assert not shapes or keras.backend.backend() == "torch"
    assert np.abs(first - again).max() > 0.01  # of the weights of now
    alone = evaluation.extract_features(backbone, [batches()[-1]], devices=devices, precision=precision)[0]
    np.testing.assert_allclose(again[-len(alone) :], alone, rtol=1e-2 if precision else 1e-5)


def test_what_is_kept_for_features_is_no_part_of_the_backbone(tmp_path):
    backbone = backbone_with()
    evaluation.extract_features(backbone, batches(), devices=DEVICES)
    assert len(backbone.weights) == len(backbone_with().weights)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.models.load_model(tmp_path / "backbone.keras")
    assert len(again.weights) == len(backbone.weights)


def test_with_several_devices_what_breaks_is_told_and_what_was_saved_goes_on(tmp_path):
    good = batches(count=80, size=2)

    def breaks():
        yield from good[:30]
        raise OSError("the disk is gone")

    how = {"cache": tmp_path, "identity": IDENTITY, "devices": DEVICES}
    with pytest.raises(OSError, match="the disk is gone"):
        evaluation.extract_features(backbone_with(), breaks(), **how)
    features, _ = evaluation.extract_features(backbone_with(), good, **how)
    plain, _ = evaluation.extract_features(backbone_with(), good)
    np.testing.assert_allclose(features, plain, rtol=1e-6)


def test_features_do_not_depend_on_the_batch():
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(4, 8))
    rng = np.random.default_rng(0)
    images, labels = rng.random((10, 8, 8, 3)).astype("float32"), np.arange(10)

    def extract(size):
        batches = [(images[i : i + size], labels[i : i + size]) for i in range(0, 10, size)]
        return evaluation.extract_features(backbone, batches)

    whole, parts = extract(10), extract(3)
    np.testing.assert_allclose(whole[0], parts[0], atol=1e-5)
    np.testing.assert_array_equal(whole[1], parts[1])
    assert whole[0].shape == (10, 8)


def test_features_are_taken_from_tf_data_under_every_backend():
    import tensorflow as tf

    images = np.random.default_rng(0).random((6, 8, 8, 3)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(6))).batch(4)
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8,))
    features, labels = evaluation.extract_features(backbone, dataset)
    np.testing.assert_allclose(features, backbone.predict(images, verbose=0), atol=1e-5)
    assert labels.tolist() == list(range(6))


def test_feature_maps_are_averaged():
    images = keras.Input((8, 8, 3))
    maps = keras.Model(images, keras.layers.Conv2D(5, 3)(images))
    batch = np.random.default_rng(0).random((4, 8, 8, 3)).astype("float32")
    features, _ = evaluation.extract_features(maps, [(batch, np.arange(4))])
    np.testing.assert_allclose(features, maps.predict(batch, verbose=0).mean(axis=(1, 2)), atol=1e-5)


def test_images_that_do_not_fit_the_backbone_are_refused():
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(4,))
    batch = (np.zeros((2, 9, 9, 3), "float32"), np.zeros(2, int))
    with pytest.raises(ValueError, match=r"must yield images that fit the backbone.*\(2, 9, 9, 3\)"):
        evaluation.extract_features(backbone, [batch])
    with pytest.raises(ValueError, match="`dataset` must hold at least one batch"):
        evaluation.extract_features(backbone, [])


def test_features_that_are_not_finite_are_refused():
    backbone = backbone_with()
    *weights, variance = backbone.get_weights()
    backbone.set_weights([*weights, np.full_like(variance, np.nan)])
    with pytest.raises(ValueError, match="`backbone` must compute finite features.* for image 0"):
        evaluation.extract_features(backbone, batches())
