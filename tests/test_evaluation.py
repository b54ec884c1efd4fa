"""Features, kNN and linear probes."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import evaluation


def blobs(per_class=40, classes=4, width=6, spread=1.0, seed=0):
    """Features around one random centre per class, and their labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, width)) * 1.5
    labels = np.repeat(np.arange(classes), per_class)
    features = centres[labels] + spread * rng.standard_normal((len(labels), width))
    return features.astype("float32"), labels


def slow_knn(train, train_labels, test, test_labels, k, temperature):
    """One image at a time, from the definition."""
    hits1 = hits5 = 0
    for feature, label in zip(test, test_labels, strict=True):
        cosine = train @ feature / (np.linalg.norm(train, axis=1) * np.linalg.norm(feature))
        votes = np.zeros(int(max(train_labels.max(), test_labels.max())) + 1)
        for neighbour in np.argsort(-cosine)[:k]:
            votes[train_labels[neighbour]] += np.exp(cosine[neighbour] / temperature)
        order = np.argsort(-votes, kind="stable")
        hits1 += order[0] == label
        hits5 += label in order[:5]
    return {"top1": hits1 / len(test), "top5": hits5 / len(test)}


@pytest.mark.backend_free
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (30, 0.5), (10_000, 0.07)])
@pytest.mark.parametrize("classes", [2, 9])
def test_knn_follows_its_definition(k, temperature, classes):
    sets = (*blobs(classes=classes), *blobs(per_class=15, classes=classes, spread=2.0, seed=1))
    assert evaluation.knn(*sets, k=k, temperature=temperature) == pytest.approx(
        slow_knn(*sets, k=k, temperature=temperature)
    )


@pytest.mark.backend_free
def test_knn_within_a_limit_of_memory_counts_every_test_image():
    sets = (*blobs(), *blobs(per_class=25, spread=2.0, seed=1))
    whole = evaluation.knn(*sets, k=7)
    assert evaluation.knn(*sets, k=7, memory=7 * 4 * len(sets[0])) == whole
    assert evaluation.knn(*sets, k=7, memory=1) == whole


@pytest.mark.backend_free
def test_knn_survives_a_low_temperature():
    sets = (*blobs(), *blobs(per_class=15, seed=1))
    assert evaluation.knn(*sets, k=3, temperature=1e-3) == pytest.approx(
        evaluation.knn(*sets, k=1, temperature=1.0), abs=0.1
    )


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
    assert first["weight_decay"] in evaluation.linear.WEIGHT_DECAYS


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
    import sys

    seen = []

    def probe(features, labels, *rest, **options):
        seen.append((features.tobytes(), np.bincount(labels).tolist()))
        return {"top1": 0.5 + 0.1 * len(seen), "top5": 1.0}

    monkeypatch.setattr(sys.modules["keras_leoclr.evaluation.linear"], "linear_probe", probe)
    result = evaluation.linear_probe_few_labels(*blobs(), *blobs(seed=1), per_class=5, draws=3)
    assert [counts for _, counts in seen] == [[5, 5, 5, 5]] * 3
    assert len({features for features, _ in seen}) == 3
    assert result["top1"] == pytest.approx(0.7) and result["top1_std"] == pytest.approx(0.1)


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


@pytest.mark.backend_free
@pytest.mark.parametrize("score", [evaluation.knn, evaluation.linear_probe])
def test_unusable_features_are_refused(score):
    train, labels = blobs()
    broken = train.copy()
    broken[3, 0] = np.nan
    for arguments, words in [
        ((broken, labels, train, labels), "`train_features` must be finite. Received: 1 rows"),
        ((train, labels[:-1], train, labels), "`train_labels` must be integers, one for each of the 160"),
        ((train, labels.astype(float), train, labels), "`train_labels` must be integers"),
        ((train, labels, train[:, :3], labels), "must be equally wide"),
        ((train, labels - 1, train, labels), "`train_labels` must be >= 0. Received: -1"),
        ((train[0], labels, train, labels), r"`train_features` must be \(N, F\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            score(*arguments)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("score", "options", "words"),
    [
        (evaluation.knn, {"k": 0}, "`k` must be a whole number >= 1. Received: k=0"),
        (evaluation.knn, {"temperature": 0.0}, "`temperature` must be > 0"),
        (evaluation.knn, {"k": ()}, "`k` must be a whole number >= 1, or several"),
        (evaluation.linear_probe, {"weight_decays": (-1,)}, "`weight_decays` must be numbers >= 0"),
        (evaluation.linear_probe, {"held_out": 1.0}, r"`held_out` must be in \(0, 1\)"),
        (evaluation.linear_probe_few_labels, {"per_class": 41}, "`per_class` must be from 2 to 40"),
    ],
)
def test_bad_option_is_refused(score, options, words):
    with pytest.raises(ValueError, match=words):
        score(*blobs(), *blobs(seed=1), **options)


def test_images_that_do_not_fit_the_backbone_are_refused():
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(4,))
    batch = (np.zeros((2, 9, 9, 3), "float32"), np.zeros(2, int))
    with pytest.raises(ValueError, match=r"must yield images that fit the backbone.*\(2, 9, 9, 3\)"):
        evaluation.extract_features(backbone, [batch])
    with pytest.raises(ValueError, match="`dataset` must hold at least one batch"):
        evaluation.extract_features(backbone, [])
