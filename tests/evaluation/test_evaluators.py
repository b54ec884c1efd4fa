"""Evaluators that need images and a backbone: the same values on every backend."""

import json
import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import callbacks, cli, evaluation
from keras_leoclr.data import as_source
from keras_leoclr.evaluation import batches, finetune, linear_on_crops, supervised
from keras_leoclr.runs.results import Results
from tests.case import batched, random_views, small_model, to_numpy
from tests.evaluation.test_features import backbone_with

VIEWS = kl.LeOCLRViews(8, jit_compile=False)


def pictures(per_class=12, classes=3, seed=0, noise=60):
    """A source of noisy images whose colour tells their class."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), per_class)
    colours = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200), (200, 200, 60)])[labels]
    images = np.clip(colours[:, None, None] + rng.normal(0, noise, (len(labels), 10, 10, 3)), 0, 255)
    return kl.data.load({"image": images.astype("uint8"), "label": labels})


def as_stream(source):
    return tf.data.Dataset.from_tensors(0).flat_map(lambda _: source.dataset)


def features(backbone, source):
    return evaluation.extract_features(backbone, kl.data.image_batches(source, VIEWS, 36))


# Computed once with the TensorFlow backend: `{label: value}`, see the test.
EXPECTED = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def measured():
    backbone = backbone_with()
    train, test = pictures(seed=1, noise=300), pictures(seed=2, noise=300)
    sets = (*features(backbone, train), *features(backbone, test))
    retrieval = evaluation.Retrieval(backbone, test, VIEWS, (0.3, 1.0), batch_size=36)
    changes = ("occlusion",)
    robustness = evaluation.Robustness(backbone, *sets[:2], test, VIEWS, changes, k=5, batch_size=36)
    quality = evaluation.Quality(backbone, *sets[:2], test, VIEWS, k=5)
    evaluators = (evaluation.KNN(*sets, k=(1, 5)), evaluation.Linear(*sets), retrieval, robustness, quality)
    return [score for evaluator in evaluators for score in evaluator.run()]


def test_values_are_the_same_on_every_backend(measured):
    keys = ("k", "crop_scale", "change", "severity", "class")
    found = {}
    for score in measured:
        label = [score.name, *(str(score.protocol[key]) for key in keys if key in score.protocol)]
        found[" ".join(label)] = score.value
    assert found == pytest.approx(EXPECTED, abs=1e-4)


def test_scores_carry_hits_intervals_and_arrays(measured):
    by_name = {score.name: score for score in measured}
    for name in ("knn/top1", "linear/top1", "retrieval/recall@1", "robustness/knn/top1"):
        score = by_name[name]
        assert score.hits.mean() == pytest.approx(score.value) and len(score.hits) == 36
        assert score.interval[0] <= score.value <= score.interval[1]
    whole = [s for s in measured if s.protocol.get("crop_scale") == 1.0]
    assert len(whole) == 2 and all(s.value == 1 for s in whole)  # the image itself
    worst = by_name["quality/worst_class"]
    assert worst.arrays["confusion"].sum() == 36 and worst.arrays["neighbours"].shape == (36, 10)
    for score in measured:
        json.dumps(score.protocol)


def test_linear_probe_learns_colours_and_leaves_the_backbone_alone():
    backbone = backbone_with()
    before = [w.copy() for w in backbone.get_weights()]
    probe = evaluation.LinearProbe(
        backbone, pictures(), pictures(seed=1), VIEWS, learning_rates=(1e-6, 1.0), epochs=4, batch_size=12
    )
    found = {score.name: score for score in probe.run()}
    assert found["linear_sgd/top1"].value > 0.8
    assert found["linear_sgd/top1"].protocol["learning_rate"] == 1.0
    assert all((a == b).all() for a, b in zip(before, backbone.get_weights(), strict=True))
    assert all(layer.trainable for layer in backbone.layers)


def test_linear_probe_fails_if_a_bit_of_the_backbone_changes(monkeypatch):
    sums = iter("ab")
    monkeypatch.setattr(linear_on_crops, "checksum", lambda _: next(sums))
    monkeypatch.setattr(linear_on_crops, "train_classifier", lambda *_, **__: None)
    probe = evaluation.LinearProbe(backbone_with(), pictures(), pictures(), VIEWS)
    with pytest.raises(RuntimeError, match="The backbone changed while its head was trained"):
        list(probe.run())


def test_finetuning_trains_both_and_keeps_the_original(one_torch_thread, monkeypatch):
    copies = []
    make = supervised.classifier_on
    monkeypatch.setattr(finetune, "classifier_on", lambda *given: copies.append(make(*given)) or copies[-1])
    backbone = backbone_with()
    before = [w.copy() for w in backbone.get_weights()]
    tuning = evaluation.Finetune(
        backbone, pictures(), pictures(seed=1), VIEWS, 0.5, (0, 1), epochs=3, batch_size=6, head_rate=0.5
    )
    found = list(tuning.run())
    assert [score.name for score in found] == ["finetune_run/top1"] * 2 + ["finetune/top1", "finetune/top5"]
    mean = found[2]
    assert mean.value == pytest.approx((found[0].value + found[1].value) / 2) and mean.value > 0.6
    assert mean.protocol["labelled_images"] == 18 and mean.protocol["top1_std"] >= 0
    assert all((a == b).all() for a, b in zip(before, backbone.get_weights(), strict=True))
    for copy, _ in copies:
        assert len(copy.trainable_weights) == 4
        assert all((a != b).any() for a, b in zip(before, copy.get_weights(), strict=True))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_head_alone_takes_the_same_steps_on_every_backend(one_torch_thread, frozen):
    """Against SGD in NumPy: order, momentum, the fall of the rate; the backbone's rate of 0 is kept."""
    copy, classifier = supervised.classifier_on(backbone_with(), 3, frozen, 0.01, 0)
    layer = classifier.get_layer("head")
    weights = np.random.default_rng(0).normal(0, 0.1, (9, 3)).astype("float32")
    layer.set_weights([weights[:-1], weights[-1]])
    before = [to_numpy(v).copy() for v in copy.variables]
    view = batches.clean_view(VIEWS, (0.3, 1.0), flip_probability=0.5)
    how = {"epochs": 3, "batch_size": 12, "seed": 4}
    rates = {"head_rate": 0.4, "backbone_rate": 0.0, "milestones": (1, 2), "gamma": 0.5}
    supervised.train_classifier(classifier, pictures(), view, verbose=False, **how, **rates)
    same = [(to_numpy(v) == old).all() for v, old in zip(copy.variables, before, strict=True)]
    if not frozen:  # BatchNorm's statistics alone are those of the batches
        assert same == [True, True, True, True, False, False] and len(copy.trainable_variables) == 4
        assert np.abs(layer.get_weights()[0] - weights[:-1]).max() > 0.1
        return
    assert all(same)
    velocity = np.zeros_like(weights)
    for step, (images, labels) in enumerate(
        evaluation.labelled_batches(pictures(), view, **how).as_numpy_iterator()
    ):
        inputs = np.concatenate([copy.predict_on_batch(images), np.ones((12, 1))], axis=1)
        probabilities = np.exp(inputs @ weights)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        velocity = 0.9 * velocity + inputs.T @ (probabilities - np.eye(3)[labels]) / 12
        weights = weights - 0.4 * 0.5 ** (step // 3) * velocity
    assert step == 8
    np.testing.assert_allclose(np.vstack(layer.get_weights()), weights, atol=1e-4)


def test_head_and_backbone_have_learning_rates_of_their_own():
    _, classifier = supervised.classifier_on(backbone_with(), 3, False, 0.01, 0)
    head = classifier.get_layer("head").trainable_variables
    optimizer = supervised.TwoRatesSGD(0.5, 0.1, head, momentum=0.9)
    variables = classifier.trainable_variables
    before = [to_numpy(v).copy() for v in variables]
    gradients = [keras.ops.ones(v.shape) for v in variables]
    for _ in range(2):  # a momentum of 0.9: 1 and then 1.9 times the gradient
        optimizer.apply(gradients, variables)
    for variable, old in zip(variables, before, strict=True):
        step = 2.9 * (0.5 if any(variable is h for h in head) else 0.05)
        np.testing.assert_allclose(to_numpy(variable), old - step, atol=1e-5)


# === Callback ===


def test_online_probe_reports_accuracy_and_does_not_change_training(one_torch_thread, tmp_path):
    results = Results(tmp_path / "results.jsonl")
    source = kl.data.image_batches(pictures(), VIEWS, 12)

    model = small_model()  # one for both, so that its step is compiled once
    model.optimizer.build(model.trainable_variables)
    variables = [*model.weights, *model.optimizer.variables]
    before = [to_numpy(variable).copy() for variable in variables]

    def train(chosen):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        history = model.fit(batched(random_views(4)), epochs=3, verbose=0, shuffle=False, callbacks=chosen)
        return model.get_weights(), history.history

    plain, _ = train([])
    probe = callbacks.OnlineLinearProbe(source, source, 3, every=1, results=results)
    watched, history = train([probe])
    assert all((a == b).all() for a, b in zip(plain, watched, strict=True))
    assert any((a != b).any() for a, b in zip(plain, before, strict=False))  # it did train
    assert len(history["online_linear_top1"]) == 3 and history["online_linear_top1"][-1] > 0.7
    assert [line["epoch"] for line in results.read()] == [1, 2, 3]


@pytest.mark.backend_free
def test_online_probe_judges_the_features_that_the_monitor_has_computed(monkeypatch):
    extracted = []

    def extract(backbone, images):
        extracted.append(images)
        return images

    for module in ("knn_monitor", "online_linear_probe"):
        monkeypatch.setattr(f"keras_leoclr.callbacks.{module}.extract_features", extract)
    bank, queries = (features_of_two_classes(seed) for seed in (0, 1))
    monitor = callbacks.KNNMonitor(bank, queries, k=3, every=2)
    probe = callbacks.OnlineLinearProbe([], monitor)
    for each in (monitor, probe):
        each.set_model(types.SimpleNamespace(backbone=None))
    probe._learn(*bank)
    for epoch, expected in enumerate([set(), {"knn_top1", "online_linear_top1"}] * 2):
        logs = {}
        for order in (probe, monitor) if epoch < 2 else (monitor, probe):
            order.on_epoch_begin(epoch)
        for order in (probe, monitor) if epoch < 2 else (monitor, probe):
            order.on_epoch_end(epoch, logs)
        assert set(logs) == expected and all(value == 1 for value in logs.values())
    assert [images is queries for images in extracted].count(True) == 2 and len(extracted) == 4


def features_of_two_classes(seed):
    labels = np.tile([0, 3], 10)
    noise = np.random.default_rng(seed).normal(0, 0.1, (20, 2))
    return (noise + np.eye(2)[labels // 3]).astype("float32"), labels


@pytest.mark.backend_free
def test_online_probe_counts_the_classes_that_it_has_seen():
    probe = callbacks.OnlineLinearProbe([(np.zeros((3, 8, 8, 3)), np.array([-1, 2, 0]))], [], every=1)
    assert probe._next()[1].tolist() == [2, 0]  # -1: not labelled
    given = callbacks.OnlineLinearProbe([], [], classes=4)
    features, labels = features_of_two_classes(0)
    for each in (probe, given):
        each._learn(features[labels == 0], labels[labels == 0])
        for _ in range(10):
            each._learn(features, labels)
    assert probe._weights.shape == (3, 4) and given._logits(features).argmax(1).tolist() == labels.tolist()
    assert probe._logits(features).argmax(1).tolist() == labels.tolist()


@pytest.mark.backend_free
def test_online_probe_refuses_labels_that_it_was_not_made_for():
    probe = callbacks.OnlineLinearProbe([(np.zeros((2, 8, 8, 3)), np.array([0, 3]))], [], classes=3, every=1)
    with pytest.raises(ValueError, match=r"`images` must have labels in \[0, 3\). Received: 0 to 3"):
        probe._next()
    with pytest.raises(ValueError, match="`learning_rate` must be > 0"):
        callbacks.OnlineLinearProbe([], [], classes=3, learning_rate=0.0)


# === Data ===


@pytest.mark.backend_free
@pytest.mark.parametrize("stream", [False, True])
def test_rows_and_labels_of_a_source(stream):
    source = pictures()
    part = as_source(as_stream(source) if stream else source).subset(np.array([30, 2, 7]))
    assert int(part.cardinality()) == 3
    whole = list(source.as_numpy_iterator())
    for row, element in zip((2, 7, 30), part.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(element["image"], whole[row]["image"])
    assert part.read_labels().tolist() == [2, 1, 0]


@pytest.mark.backend_free
def test_batches_are_a_function_of_the_seed_and_shuffle_every_image_once():
    source = pictures()
    view = batches.clean_view(VIEWS, (0.3, 0.6), 0.5)

    def passes(seed):
        return list(evaluation.labelled_batches(source, view, 12, seed, epochs=2).as_numpy_iterator())

    first, again, other = passes(0), passes(0), passes(1)
    assert len(first) == 6
    for (images, labels), (same, same_labels) in zip(first, again, strict=True):
        np.testing.assert_allclose(images, same, atol=1e-5)
        np.testing.assert_array_equal(labels, same_labels)
    for epoch in (first[:3], first[3:]):
        assert np.bincount(np.concatenate([labels for _, labels in epoch])).tolist() == [12, 12, 12]
    orders = [np.concatenate([labels for _, labels in e]).tolist() for e in (first[:3], first[3:], other[:3])]
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.backend_free
def test_images_of_many_sizes_are_batched_one_by_one(tmp_path):
    from PIL import Image

    for label in "ab":
        (tmp_path / label).mkdir()
        for side in (9, 14, 20):
            Image.new("RGB", (side, side + 2), (side * 10, 0, 0)).save(tmp_path / label / f"{side}.png")
    source = kl.data.load(tmp_path)
    found = list(
        evaluation.labelled_batches(source, batches.clean_view(VIEWS), 4, epochs=1).as_numpy_iterator()
    )
    assert [images.shape for images, _ in found] == [(4, 8, 8, 3)]
    found = list(evaluation.labelled_batches(source, batches.clean_view(VIEWS), 4).as_numpy_iterator())
    assert [images.shape for images, _ in found] == [(4, 8, 8, 3), (2, 8, 8, 3)]


@pytest.mark.backend_free
def test_images_that_train_and_test_share_are_counted():
    def same_view(source):
        return kl.data.image_batches(source, VIEWS, 7)

    train = pictures()
    test = kl.data.load({**next(iter(pictures(seed=1).batch(36).as_numpy_iterator()))})
    assert evaluation.shared_images(same_view(train), same_view(test)) == 0
    assert evaluation.shared_images(same_view(train), same_view(train.subset(np.arange(5)))) == 5


@pytest.mark.backend_free
def test_a_fraction_of_the_labels_is_balanced_and_leaves_no_class_out():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    rows = finetune.labelled_fraction(labels, 0.1, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 5, 1] and len(set(rows)) == 16
    assert rows.tolist() != finetune.labelled_fraction(labels, 0.1, seed=1).tolist()
    with pytest.raises(ValueError, match="must leave an image of every class. Received: fraction=0.01"):
        finetune.labelled_fraction(labels, 0.01, seed=0)
    assert finetune.published_list("tfds:imagenet2012", 0.01) == "tfds:imagenet2012_subset/1pct"
    assert finetune.published_list("tfds:cifar10", 0.01) is None


# === Bad input ===


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda b, s: evaluation.Retrieval(b, s, VIEWS, (0.0,)),
            r"`crop_scales` must be numbers in \(0, 1\]",
        ),
        (
            lambda b, s: evaluation.Robustness(b, None, None, s, VIEWS, ("fog",)),
            "`changes` must be some of centre_crop.*Received: fog",
        ),
        (lambda b, s: evaluation.Finetune(b, s, s, VIEWS, 0.0), r"`fraction` must be in \(0, 1\]"),
        (lambda b, s: evaluation.Finetune(b, s, s, VIEWS, seeds=()), "`seeds` must be whole numbers"),
        (
            lambda b, s: evaluation.Finetune(b, s, s, VIEWS, head_rate=0),
            "must be > 0. Received: backbone_rate",
        ),
        (lambda b, s: evaluation.LinearProbe(b, s, s, VIEWS, ()), "`learning_rates` must be numbers > 0"),
        (lambda b, s: evaluation.Transfer(b, VIEWS, ()), "`targets` must be data sets with the metric"),
        (
            lambda b, s: list(evaluation.Finetune(b, s, pictures(classes=4), VIEWS).run()),
            r"`train` must have images of every class of `test`. Received: none of \[3\]",
        ),
        (
            lambda b, s: list(
                evaluation.LinearProbe(b, pictures(classes=1), pictures(classes=1), VIEWS).run()
            ),
            "`train` must have two classes or more. Received: only 0",
        ),
        (
            lambda b, s: as_source(s.map(lambda e: {"image": e["image"]})).read_labels(),
            "`source` must have labels to be evaluated on. Received: elements with image alone",
        ),
        (lambda b, s: evaluation.Finetune(b, s.batch(4), s, VIEWS), "`train` must have single images"),
        (lambda b, s: evaluation.LinearProbe(b, s, 3, VIEWS), "`test` must be what `data.load` returns.*int"),
        (lambda b, s: evaluation.Quality(b, [], [], pictures, VIEWS), "`test` must be what.*function"),
        (
            lambda b, s: evaluation.Embedding(b, np.zeros((2, 8, 8, 3)), s, VIEWS),
            "`bank`.*a source of arrays",
        ),
        (
            lambda b, s: evaluation.Retrieval(b, s.map(lambda e: (e["image"],)), VIEWS),
            "`source`.*tuples of 1",
        ),
    ],
)
def test_unusable_arguments_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(None, pictures())


# === Command line and transfer ===


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


@pytest.mark.backend_free
def test_transfer_goes_on_without_what_is_not_there(tmp_path):
    images = next(iter(pictures().batch(36).as_numpy_iterator()))
    path = tmp_path / "own.npz"
    np.savez(path, **{f"{split}_{kind}": a for split in ("train", "test") for kind, a in images.items()})
    targets = [evaluation.Target(str(tmp_path / "none.npz")), evaluation.Target(str(path))]
    suite = evaluation.Transfer(backbone_with(), VIEWS, targets)
    assert [score.name for score in suite.run()] == ["transfer/own.npz", "transfer/mean"]
    assert "no such file" in suite.missing["none.npz"]


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    """Flags of `evaluate` for a backbone and a data set in files; four images are in both splits."""
    data = {}
    for split, seed in (("train", 0), ("test", 1)):
        batch = next(iter(pictures(seed=seed).batch(36).as_numpy_iterator()))
        data |= {f"{split}_{kind}": array for kind, array in batch.items()}
    data["test_image"] = np.concatenate([data["train_image"][:4], data["test_image"][4:]])
    np.savez(tmp_path / "data.npz", **data)
    backbone_with().save(tmp_path / "mine.keras")
    flags = ["--workdir", tmp_path / "run", "--dataset", tmp_path / "data.npz", "--noverbose", "--k", "3"]
    return [*flags, "--backbone", tmp_path / "mine.keras"]


@pytest.mark.backend_free
def test_commands_that_need_images_write_their_lines(tmp_path, files):
    quick = ["--fraction", "0.5", "--seeds", "0", "--epochs", "1", "--crop_scales", "0.5"]
    quick += ["--map_images", "10"]
    for what in ("finetune", "retrieval", "transfer", "embedding"):
        assert run("evaluate", what, *files, *quick, "--targets", tmp_path / "data.npz") == 0
    lines = {line["name"]: line for line in Results(tmp_path / "run" / "results.jsonl").read()}
    names = {"finetune/top1", "retrieval/recall@1", "transfer/data.npz"}
    assert names <= set(lines) and lines["finetune/top1"]["test_images"] == 36
    embedding = lines["embedding/explained"]
    assert embedding["images"] == 10 and 0 < embedding["value"] <= 1
    found = {
        kind: np.load(tmp_path / "run" / embedding[f"{kind}_file"], allow_pickle=False)
        for kind in ("coordinates", "rows", "near", "examples", "neighbours", "labels", "predicted")
    }
    assert found["coordinates"].shape == (10, 2) and found["near"].shape == (10, 5)
    assert len(set(found["rows"])) == 10 and set(found["examples"]) <= set(range(10))
    assert found["neighbours"].max() < 36 and (tmp_path / "run" / embedding["pictures_file"]).is_file()


def test_evaluate_and_compare_from_the_command_line(tmp_path, capsys, files):
    with pytest.warns(UserWarning, match="4 of 36 test images are in the training set too"):
        assert run("evaluate", "knn", *files, "--json") == 0
    lines = Results(tmp_path / "run" / "results.jsonl").read()
    printed = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in printed if line.startswith("{")] == lines
    assert [line["name"] for line in lines] == ["knn/top1", "knn/top5"]
    protocol = {
        "subject",
        "dataset",
        "train_split",
        "test_split",
        "test_content",
        "k",
        "temperature",
        "epoch",
    }
    assert protocol <= set(lines[0]) and lines[0]["shared_images"] == 4 and lines[0]["subject"] == "mine"
    assert run("compare", tmp_path / "run") == 0
    assert "knn/top1, k 3" in capsys.readouterr().out


@pytest.mark.backend_free
def test_evaluate_says_what_is_missing(tmp_path, capsys):
    for arguments, words in [
        (["evaluate"], "`evaluate` takes one of knn, linear"),
        (
            ["evaluate", "magic", "--workdir", tmp_path],
            "unknown evaluation 'magic'. Known: all, embedding, few",
        ),
        (["evaluate", "knn"], "`--workdir` must name a folder"),
        (["evaluate", "knn", "--workdir", tmp_path], "`--backbone` must be a .keras file"),
        (
            ["evaluate", "knn", "--workdir", tmp_path, "--backbone", "random"],
            "`--architecture`, one of resnet18",
        ),
    ]:
        assert run(*arguments) == 2
        assert words in capsys.readouterr().err
    assert run("evaluate", "--help") == 0
    text = capsys.readouterr().out
    for flag in ("--fraction", "--crop_scales", "--[no]leave_one_out", "linear_paper", "transfer"):
        assert flag in text


@pytest.mark.backend_free
def test_several_evaluations_are_named_at_once(tmp_path, monkeypatch):
    from keras_leoclr.evaluation import run_evaluation
    from keras_leoclr.evaluation.suite_options import ALL

    written = []
    noted = types.SimpleNamespace(run=written.extend, results=Results(tmp_path / "results.jsonl"))

    class Noted:
        def __init__(self, workdir, **given):
            assert workdir == str(tmp_path)

        def suite(self, options, images, **given):
            assert images and options.k == (1, 20, 200)
            return noted

    monkeypatch.setattr(run_evaluation, "RunEvaluation", Noted)
    assert run("evaluate", "finetune,all", "--workdir", tmp_path) == 0
    assert written == ["finetune", *ALL]
    assert run("evaluate", "knn,bogus", "--workdir", tmp_path) == 2
