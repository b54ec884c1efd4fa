"""Linear accuracy on other data sets."""

import numpy as np
import pytest

from keras_leoclr import evaluation
from tests.evaluation.examples import VIEWS, pictures
from tests.evaluation.test_features import backbone_with


@pytest.mark.backend_free
def test_transfer_measures_every_data_set_that_is_there(monkeypatch):
    import socket

    import tensorflow_datasets as tfds

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # there is a network, or so it seems
    names = ("cifar10", "oxford_iiit_pet", "dtd")
    with tfds.testing.mock_data(num_examples=30):
        suite = evaluation.Transfer(backbone_with(), VIEWS, [evaluation.TARGETS[name] for name in names])
        found = list(suite.run())
    assert [score.name for score in found] == [*(f"transfer/{name}" for name in names), "transfer/mean"]
    assert [s.protocol.get("metric") for s in found] == ["top1", "mean_per_class", "top1", None]
    assert found[2].protocol["train_split"] == "train+validation"
    assert found[3].value == pytest.approx(np.mean([s.value for s in found[:3]]))
    assert found[3].protocol == {"data_sets": 3, "targets": sorted(names)}


@pytest.mark.backend_free
def test_transfer_goes_on_without_what_is_not_there(tmp_path):
    images = next(iter(pictures().batch(36).as_numpy_iterator()))
    path = tmp_path / "own.npz"
    np.savez(path, **{f"{split}_{kind}": a for split in ("train", "test") for kind, a in images.items()})
    targets = [evaluation.Target(str(tmp_path / "none.npz")), evaluation.Target(str(path))]
    suite = evaluation.Transfer(backbone_with(), VIEWS, targets)
    assert [score.name for score in suite.run()] == ["transfer/own.npz", "transfer/mean"]
    assert "no such file" in suite.missing["none.npz"]


@pytest.mark.backend_free
def test_a_data_set_that_cannot_be_judged_on_does_not_stop_the_others(tmp_path):
    targets = []
    for name, classes in (("one", 1), ("own", 3)):
        images = next(iter(pictures(classes=classes).batch(36).as_numpy_iterator()))
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{f"{split}_{kind}": a for split in ("train", "test") for kind, a in images.items()})
        targets.append(evaluation.Target(str(path)))
    suite = evaluation.Transfer(backbone_with(), VIEWS, targets)
    assert [score.name for score in suite.run()] == ["transfer/own.npz", "transfer/mean"]
    assert "two classes or more" in suite.missing["one.npz"]
    with pytest.raises(ValueError, match="two classes or more"):
        list(evaluation.Transfer(backbone_with(), VIEWS, targets[:1]).run())
