"""What TensorBoard finds in `logs`, read back from the event files."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import callbacks
from keras_leoclr.callbacks.tensorboard import sprite, take_out
from tests.case import batched, fresh_model, random_images, random_views

backend_free = pytest.mark.backend_free


def events(folder):
    """(tag, step, value) of all event files, in the order of writing."""
    found = []
    for path in sorted(folder.rglob("*tfevents*"), key=lambda path: path.stat().st_mtime_ns):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(v.tag, event.step, tf.make_ndarray(v.tensor)) for v in event.summary.value]
    return found


def steps_of(folder, tag):
    return [step for name, step, _ in events(folder) if name == tag]


def fit(folder, first, last, model=None, **options):
    model = model or fresh_model()
    chosen = [callbacks.TensorBoard(folder, **options)]
    data = batched(random_views())
    return model.fit(
        data, initial_epoch=first, epochs=last, verbose=0, shuffle=False, callbacks=chosen
    ).history


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "views.png"
    path.write_bytes(tf.io.encode_png(random_images(1, 20, 30)[0]).numpy())
    return path


def test_scalars_views_and_projector_of_a_run_that_goes_on(tmp_path, sheet):
    folder = tmp_path / "logs"
    source = tf.data.Dataset.from_tensor_slices(
        {"image": random_images(10, 12, 12), "label": np.arange(10) % 3}
    )
    options = {"sheet": sheet, "source": source, "views": kl.LeOCLRViews(8)}
    model = fresh_model()
    history = fit(folder, 0, 3, model, **options)
    # two epochs are trained again, as after a kill that came after the last checkpoint
    again = fit(folder, 1, 4, model, **options)
    assert sorted(steps_of(folder, "epoch_loss")) == [0, 1, 2, 3]
    expected = [history["loss"][0], *again["loss"]]
    values = sorted((step, float(value)) for tag, step, value in events(folder) if tag == "epoch_loss")
    np.testing.assert_allclose([value for _, value in values], expected, rtol=1e-6)
    tags = {tag for tag, _, _ in events(folder)}
    assert {"epoch_loss_to_chance", "epoch_contrast_accuracy", "epoch_learning_rate"} <= tags
    rates = [float(value) for tag, _, value in events(folder) if tag == "epoch_learning_rate"]
    assert rates == pytest.approx([0.05] * 4)
    images = [value for tag, _, value in events(folder) if tag == "views"]
    assert len(images) == 1
    width, height, png = images[0]
    assert (int(width), int(height)) == (30, 20)
    np.testing.assert_array_equal(tf.io.decode_png(png), tf.io.decode_png(sheet.read_bytes()))
    check_projector(folder, model, source)


def check_projector(folder, model, source):
    from google.protobuf import text_format
    from tensorboard.plugins.projector import ProjectorConfig

    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    features = np.loadtxt(folder / embedding.tensor_path, delimiter="\t")
    assert features.shape == (10, 16)
    labels = np.loadtxt(folder / embedding.metadata_path, dtype=int)
    assert labels.tolist() == [i % 3 for i in range(10)]
    assert list(embedding.sprite.single_image_dim) == [8, 8]
    sheet = tf.io.decode_png((folder / embedding.sprite.image_path).read_bytes()).numpy()
    assert sheet.shape == (32, 32, 3) and (sheet[16:24, 16:] == 0).all()  # 10 of 16 places
    images, _ = next(iter(kl.data.image_batches(source, kl.LeOCLRViews(8))))
    expected = kl.evaluation.extract_features(model.backbone, [(images, np.zeros(10))])[0]
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    pixels = images[5] * kl.views.IMAGENET_STD + kl.views.IMAGENET_MEAN
    np.testing.assert_allclose(sheet[8:16, 8:16], pixels * 255, atol=1)


@backend_free
def test_a_source_without_labels_has_no_metadata(tmp_path):
    source = tf.data.Dataset.from_tensor_slices({"image": random_images(3, 12, 12)})
    board = callbacks.TensorBoard(tmp_path, source=source, views=kl.LeOCLRViews(8))
    board.set_model(fresh_model())
    board.write_projector()
    assert not (tmp_path / "metadata.tsv").exists()
    assert "metadata" not in (tmp_path / "projector_config.pbtxt").read_text()
    assert len((tmp_path / "features.tsv").read_text().splitlines()) == 3


@backend_free
def test_a_source_without_views_is_refused_before_the_training(tmp_path):
    source = tf.data.Dataset.from_tensor_slices({"image": random_images(3, 12, 12)})
    with pytest.raises(TypeError, match="`views` must be a Preprocessing or a layer .* Received: views=None"):
        callbacks.TensorBoard(tmp_path, source=source)
    board = callbacks.TensorBoard(tmp_path, source=source, views=kl.LeOCLRViews(8))
    board.set_model(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="`model` must have a `backbone`, .* Received: a Sequential"):
        board.on_train_begin()


@backend_free
def test_the_scalars_of_another_run_in_a_folder_within_stay(tmp_path):
    for place in ("older", "train", "validation"):
        with tf.summary.create_file_writer(str(tmp_path / place)).as_default():
            tf.summary.scalar("loss", 1.0, step=0)
    board = callbacks.TensorBoard(tmp_path)
    board.set_model(keras.Sequential([keras.layers.Dense(1)]))
    board.on_epoch_begin(0)
    left = [len(steps_of(tmp_path / place, "loss")) for place in ("older", "train", "validation")]
    assert left == [1, 0, 0]


@backend_free
def test_a_half_event_of_a_process_that_died_is_taken_out(tmp_path):
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        for step in range(3):
            tf.summary.scalar("loss", float(step), step=step)
    (path,) = tmp_path.glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-5])
    take_out(path, 10)
    assert steps_of(tmp_path, "loss") == [0, 1]
    take_out(path, 1)
    assert steps_of(tmp_path, "loss") == [0]
    before = path.stat().st_mtime_ns
    take_out(path, 1)
    assert path.stat().st_mtime_ns == before  # nothing to do, nothing written
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@backend_free
def test_a_sprite_is_read_row_by_row():
    images = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones((1, 2, 2, 3), "uint8")
    assert sprite(images)[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 0], [0, 0, 0]]


@backend_free
def test_without_the_package_auto_is_off_and_on_names_the_extra(monkeypatch, tmp_path):
    assert callbacks.TensorBoard.wanted("auto") and not callbacks.TensorBoard.wanted("off")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert not callbacks.TensorBoard.wanted("auto")
    with pytest.raises(ImportError, match=r"keras-leoclr\[tensorboard\]"):
        callbacks.TensorBoard(tmp_path)
    with pytest.raises(
        ValueError, match="`tensorboard` must be auto, on or off. Received: tensorboard='yes'"
    ):
        callbacks.TensorBoard.wanted("yes")


@backend_free
def test_training_is_the_same_with_it(tmp_path):
    keras.utils.set_random_seed(0)
    plain = fresh_model()
    plain.fit(batched(random_views()), epochs=2, verbose=0, shuffle=False)
    weights = plain.get_weights()
    keras.utils.set_random_seed(0)
    model = fresh_model()
    fit(tmp_path, 0, 2, model)
    for mine, theirs in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
