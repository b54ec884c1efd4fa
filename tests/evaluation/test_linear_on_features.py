"""Linear classifiers that are fitted to all features at once."""

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.evaluation import linear_on_features
from tests.evaluation.examples import blobs


@pytest.mark.backend_free
def test_linear_probe_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    sets = (*blobs(per_class=150, spread=2.5), *blobs(per_class=250, spread=2.5, seed=1))
    ours = evaluation.linear_probe(*sets)["top1"]
    mean, std = sets[0].mean(0), sets[0].std(0)
    theirs = max(
        LogisticRegression(C=c, max_iter=1000)
        .fit((sets[0] - mean) / std, sets[1])
        .score((sets[2] - mean) / std, sets[3])
        for c in (0.01, 0.1, 1.0)
    )
    assert ours == pytest.approx(theirs, abs=0.003)


@pytest.mark.backend_free
def test_linear_probe_is_repeatable_and_names_its_choice():
    sets = (*blobs(), *blobs(seed=1))
    first, second = (evaluation.linear_probe(*sets, seed=3) for _ in range(2))
    assert first == second
    assert first["weight_decay"] in linear_on_features.WEIGHT_DECAYS


@pytest.mark.backend_free
def test_linear_probe_does_not_look_at_test_labels():
    train, test = blobs(spread=2.5), blobs(spread=2.5, seed=1)
    honest = evaluation.linear_probe(*train, *test)
    wrong = evaluation.linear_probe(*train, test[0], (test[1] + 1) % 4)
    for name in ("weight_decay", "held_out_top1"):
        assert honest[name] == wrong[name]
    assert wrong["top1"] < honest["top1"]


@pytest.mark.backend_free
def test_few_labels_are_drawn_evenly(monkeypatch):

    seen = []

    def probe(features, labels, *rest, **options):
        seen.append((features.tobytes(), np.bincount(labels).tolist()))
        return {"top1": 0.5 + 0.1 * len(seen), "top5": 1.0}

    monkeypatch.setattr(linear_on_features, "linear_probe", probe)
    result = evaluation.linear_probe_few_labels(*blobs(), *blobs(seed=1), per_class=5, draws=3)
    assert [counts for _, counts in seen] == [[5, 5, 5, 5]] * 3
    assert len({features for features, _ in seen}) == 3
    assert result["top1"] == pytest.approx(0.7) and result["top1_std"] == pytest.approx(0.1)


@pytest.mark.backend_free
def test_linear_probe_agrees_with_scikit_learn_on_the_bundled_pictures():
    from sklearn.linear_model import LogisticRegression

    sets = []
    for split, count in (("train", 1500), ("test", 1000)):
        batch = next(kl.data.load("fashion_mnist", split).batch(count).as_numpy_iterator())
        sets += [batch["image"][:, ::4, ::4, 0].reshape(count, -1).astype("float32") / 255, batch["label"]]
    for decay in (1e-1, 1e-2):
        ours = evaluation.linear_probe(*sets, weight_decays=(decay,))["top1"]
        mean, std = sets[0].mean(0), np.maximum(sets[0].std(0), 1e-6)
        model = LogisticRegression(C=1 / (decay * 1500), max_iter=2000, tol=1e-5)
        model.fit((sets[0] - mean) / std, sets[1])
        assert ours == pytest.approx(model.score((sets[2] - mean) / std, sets[3]), abs=0.003)


@pytest.mark.backend_free
@pytest.mark.parametrize("shape", [(200, 7), (30, 90)])
def test_softmax_regression_reaches_the_minimum(shape):
    from scipy.optimize import minimize

    from keras_leoclr.evaluation.softmax_regression import decay_path, principal_directions

    rng = np.random.default_rng(0)
    inputs = rng.standard_normal(shape) * np.linspace(0.1, 3, shape[1])
    inputs = (inputs - inputs.mean(0)).astype("float32")
    labels = rng.integers(0, 3, shape[0])

    def objective(flat):
        weights = flat.reshape(-1, 3)
        logits = inputs @ weights[:-1] + weights[-1]
        top = logits.max(1, keepdims=True)
        cross = top[:, 0] + np.log(np.exp(logits - top).sum(1)) - logits[np.arange(len(labels)), labels]
        return cross.mean() + 0.005 * (weights[:-1] ** 2).sum()

    directions, variances = principal_directions(inputs)
    assert directions.shape[1] <= min(shape)
    path = decay_path(inputs @ directions, variances, labels, 3, (1.0, 0.01), tolerance=1e-5)
    *_, ours = path
    ours = np.concatenate([directions @ ours[:-1], ours[-1:]])
    least = minimize(objective, np.zeros((shape[1] + 1) * 3), method="L-BFGS-B", options={"maxiter": 5000})
    assert objective(ours.ravel().astype("float64")) <= least.fun + 1e-5


@pytest.mark.backend_free
def test_linear_evaluator_writes_its_whole_protocol():
    found = {score.name: score for score in evaluation.Linear(*blobs(), *blobs(seed=1), seed=3).run()}
    protocol = found["linear/top1"].protocol
    assert set(protocol) >= {"weight_decay", "weight_decays_tried", "held_out_top1", "seed", "solver"}
    assert found["linear/top1"].hits.mean() == found["linear/top1"].value
    # equally many images of each class: the mean over classes is that over images
    assert found["linear/mean_per_class"].value == pytest.approx(found["linear/top1"].value)


@pytest.mark.backend_free
def test_features_in_half_precision_are_standardised_in_float32():
    train, test = blobs(per_class=500, spread=0.3), blobs(spread=0.3, seed=1)
    sets = [(300 * features.astype("float64"), labels) for features, labels in (train, test)]
    low = [(features.astype("float16"), labels) for features, labels in sets]
    expected = evaluation.linear_probe(*sets[0], *sets[1])["top1"]
    assert evaluation.linear_probe(*low[0], *low[1])["top1"] == pytest.approx(expected, abs=0.02)


@pytest.mark.backend_free
@pytest.mark.parametrize(("per_class", "held_out"), [(1, 0.2), (4, 0.9)])
def test_small_classes_leave_images_to_fit_to(per_class, held_out, recwarn):
    result = evaluation.linear_probe(*blobs(per_class), *blobs(seed=1), held_out=held_out)
    assert result["top1"] > 0.25 and not recwarn.list
    assert (result["held_out_top1"] == -1) == (per_class == 1)


@pytest.mark.backend_free
def test_labelled_images_are_drawn_at_least_once():
    with pytest.raises(ValueError, match="`draws` must be a whole number >= 1. Received: draws=0"):
        evaluation.linear_probe_few_labels(*blobs(), *blobs(seed=1), draws=0)
