"""Features, kNN and linear probes."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.evaluation import linear_on_features


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


@pytest.mark.backend_free
@pytest.mark.parametrize(("count", "k"), [(30, 7), (3000, 3), (5000, 40), (700, 700)])
@pytest.mark.parametrize("ties", [False, True])
def test_neighbours_are_those_of_a_full_sort(count, k, ties):
    from keras_leoclr.evaluation.neighbour_search import nearest

    rng = np.random.default_rng(0)
    bank = rng.integers(-2, 3, (count, 3)) if ties else rng.standard_normal((count, 3))
    queries = rng.standard_normal((20, 3))
    # a bank sorted by what it resembles is the worst case for bounds from blocks
    bank = bank[np.argsort(bank @ queries[0])]
    found = np.concatenate([rows for *_, rows in nearest(bank, queries, k, memory=4 * count * 6)])
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (bank, queries)]
    cosine = unit[1].astype("float32") @ unit[0].astype("float32").T
    expected = -np.sort(-cosine, axis=1)[:, :k]
    np.testing.assert_allclose(np.take_along_axis(cosine, found, axis=1), expected, atol=1e-5)
    assert all(len(set(row)) == k for row in found)


@pytest.mark.backend_free
def test_several_k_in_one_pass_are_those_of_single_passes():
    sets = (*blobs(), *blobs(per_class=15, spread=2.0, seed=1))
    several = evaluation.knn(*sets, k=(1, 20, 5000))
    assert several == {k: evaluation.knn(*sets, k=k) for k in (1, 20, 5000)}


@pytest.mark.backend_free
def test_leave_one_out_leaves_each_image_out():
    features, labels = blobs(spread=2.0)
    slow = [
        slow_knn(
            np.delete(features, i, 0), np.delete(labels, i), features[i : i + 1], labels[i : i + 1], 5, 0.07
        )
        for i in range(len(features))
    ]
    found = evaluation.knn_leave_one_out(features, labels, k=5)
    assert found["top1"] == pytest.approx(np.mean([s["top1"] for s in slow]))
    # an image that voted for itself would always be right
    assert evaluation.knn_leave_one_out(features, labels, k=1)["top1"] < 1
    assert evaluation.knn(features, labels, features, labels, k=1)["top1"] == 1


@pytest.mark.backend_free
def test_k_beyond_the_training_set_is_clipped_and_both_are_written_down():
    sets = (*blobs(per_class=5), *blobs(per_class=5, seed=1))
    found = list(evaluation.KNN(*sets, k=(3, 200), leave_one_out=True).run())
    protocols = {(s.name, s.protocol["k"]): s.protocol for s in found}
    assert protocols["knn/top1", 20]["k_asked"] == 200 and "k_asked" not in protocols["knn/top1", 3]
    assert ("knn_train/top1", 19) in protocols


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
def test_classes_that_only_the_test_set_has_count_as_wrong_and_are_named():
    train, test = blobs(classes=3), blobs(classes=4, seed=1)
    for score in (evaluation.knn, evaluation.linear_probe):
        with pytest.warns(
            UserWarning, match="40 of 160 test images are of 1 classes that `train_labels` lacks"
        ):
            assert score(*train, *test)["top1"] <= 0.75
    with pytest.warns(UserWarning):
        lines = list(evaluation.Linear(*train, *test).run())
    assert lines[0].protocol["test_only_classes"] == [3]


@pytest.mark.backend_free
@pytest.mark.parametrize("score", [evaluation.knn, evaluation.linear_probe])
def test_a_single_class_is_refused(score):
    features, labels = blobs()
    with pytest.raises(
        ValueError, match="`train_labels` must be of two classes or more. Received: 160 times 0"
    ):
        score(features, 0 * labels, features, labels)


@pytest.mark.backend_free
def test_linear_evaluator_writes_its_whole_protocol():
    found = {score.name: score for score in evaluation.Linear(*blobs(), *blobs(seed=1), seed=3).run()}
    protocol = found["linear/top1"].protocol
    assert set(protocol) >= {"weight_decay", "weight_decays_tried", "held_out_top1", "seed", "solver"}
    assert found["linear/top1"].hits.mean() == found["linear/top1"].value
    # equally many images of each class: the mean over classes is that over images
    assert found["linear/mean_per_class"].value == pytest.approx(found["linear/top1"].value)
