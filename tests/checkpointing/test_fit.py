"""Exact resume on batches that are no `tf.data`."""

import keras
import numpy as np
import pytest

from keras_leoclr import callbacks
from keras_leoclr.checkpointing.fit import is_tf_data, number_of_batches
from keras_leoclr.checkpointing.state import arrays_of
from tests.case import StopAfter, Stopped, fresh_model, random_views

STEPS, EPOCHS = 4, 3


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches, self.begun, self.ended = [], 0, 0

    def on_train_begin(self, logs=None):
        self.begun += 1

    def on_train_end(self, logs=None):
        self.ended += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((self.epoch, batch))


def batches_at(epoch, batch):
    return [random_views(1, seed=100 * epoch + step) for step in range(batch, STEPS)]


class Batches(keras.utils.PyDataset):
    def __init__(self, epoch, batch):
        super().__init__()
        self.batches = batches_at(epoch, batch)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def train(folder, dataset_at, crash=None, others=()):
    model = fresh_model()
    checkpoint = callbacks.Checkpoint(
        folder / "checkpoints", minutes=0, budget=1, files=[folder / "history.csv"]
    )
    chosen = [*others, callbacks.HistoryFile(folder / "history.csv")]
    if crash is None:
        checkpoint.fit(model, dataset_at, EPOCHS, chosen, verbose=0)
    else:
        with pytest.raises(Stopped):
            checkpoint.fit(model, dataset_at, EPOCHS, [*chosen, StopAfter(crash)], verbose=0)
    return model


@pytest.fixture(scope="module")
def uninterrupted(one_torch_thread, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return arrays_of(train(folder, batches_at)), (folder / "history.csv").read_text()


@pytest.mark.parametrize("crashes", [(6, 2), (4, 5)])
@pytest.mark.parametrize("dataset_at", [batches_at, Batches])
def test_a_run_on_numpy_batches_goes_on_to_the_bit(tmp_path, uninterrupted, dataset_at, crashes):
    for crash in crashes:
        train(tmp_path, dataset_at, crash)
    expected, history = uninterrupted
    actual = arrays_of(train(tmp_path, dataset_at))
    assert actual.keys() == expected.keys()
    exact = keras.backend.backend() != "tensorflow"  # which sums in another order in each process
    for name, value in expected.items():
        if exact:
            np.testing.assert_array_equal(actual[name], value)
        else:
            np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-6)
    if exact:
        assert (tmp_path / "history.csv").read_text() == history


def test_to_callbacks_it_is_one_training_whose_batches_count_on(tmp_path):
    train(tmp_path, batches_at, crash=6)
    seen = Seen()
    train(tmp_path, batches_at, others=[seen])
    assert (seen.begun, seen.ended) == (1, 1)
    assert seen.batches == [(1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)]


def test_it_stops_when_a_callback_asks_for_it(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    seen = Seen()
    train(tmp_path, batches_at, others=[seen, Stop()])
    assert seen.batches[-1] == (0, STEPS - 1)


def test_a_training_that_is_complete_asks_for_no_data(tmp_path):
    train(tmp_path, batches_at)
    seen = Seen()
    train(tmp_path, lambda epoch, batch: {}[epoch], others=[seen])
    assert (seen.begun, seen.ended, seen.batches) == (1, 1, [])


def test_data_of_another_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`dataset_at\(1, 0\)` must make data of 4 batches.*Received: 3"):
        train(tmp_path, lambda epoch, batch: batches_at(epoch, min(epoch, 1)))
    with pytest.raises(ValueError, match="must make data of a known number of batches"):
        train(tmp_path / "other", lambda epoch, batch: iter(batches_at(epoch, batch)))
    with pytest.raises(ValueError, match="must make data of at least one batch. Received: none for epoch 0"):
        train(tmp_path / "none", lambda epoch, batch: [])


@pytest.mark.backend_free
def test_kinds_of_data():
    assert not is_tf_data([1]) and number_of_batches([1, 2]) == 2
    assert number_of_batches(iter([1])) is None and number_of_batches(Batches(0, 1)) == 3
