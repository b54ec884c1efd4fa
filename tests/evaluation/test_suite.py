"""The suite: the numbers of single evaluators, with features that are computed once."""

import json

import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.data.given import IN_PYTHON
from keras_leoclr.evaluation import RunEvaluation, features, quality
from keras_leoclr.evaluation.suite import ALL, Suite, SuiteOptions
from keras_leoclr.runs.results import Results
from keras_leoclr.views.preprocessing import Preprocessing
from tests.evaluation.examples import pictures
from tests.evaluation.test_features import backbone_with

PREPROCESSING = Preprocessing(8)
TRAIN, TEST = pictures(seed=1, noise=300), pictures(seed=2, noise=300)
ABOUT = {"subject": "mine", "dataset": "d", "train_split": "train", "test_split": "test", "epoch": 3}
OPTIONS = SuiteOptions(
    k=(1, 5), per_class=3, draws=2, crop_scales=(0.3,), changes=("occlusion",), map_images=10, seed=4
)


def made(tmp_path, backbone, options=OPTIONS, train=TRAIN, test=TEST, **more):
    results = Results(tmp_path / "run" / "results.jsonl")
    return Suite(backbone, train, test, PREPROCESSING, results, ABOUT, options, **more), results


@pytest.fixture
def images_seen(monkeypatch):
    """Numbers of images of each call of a backbone."""
    seen = []
    compute = features.in_turn

    def counted(predictors, batches):
        return compute(predictors, (seen.append(len(batch[0])) or batch for batch in batches))

    monkeypatch.setattr(features, "in_turn", counted)
    return seen


def singles(backbone, options):
    """What the evaluators yield that each compute their own features."""
    sets = []
    for source in (TRAIN, TEST):
        sets += evaluation.extract_features(backbone, kl.data.image_batches(source, PREPROCESSING))
    seed, vote = {"seed": options.seed}, {"k": 5}
    evaluators = (
        evaluation.KNN(*sets, k=(1, 5)),
        evaluation.Linear(*sets, **seed),
        evaluation.FewLabels(*sets, per_class=3, draws=2, **seed),
        evaluation.Retrieval(backbone, TEST, PREPROCESSING, (0.3,), **seed),
        evaluation.Robustness(backbone, *sets[:2], TEST, PREPROCESSING, ("occlusion",), **vote, **seed),
        evaluation.Quality(backbone, *sets[:2], TEST, PREPROCESSING, **vote, **seed),
        evaluation.Embedding(backbone, TRAIN, TEST, PREPROCESSING, 10, **vote, **seed),
    )
    return [score for evaluator in evaluators for score in evaluator.run()]


def test_values_and_protocols_are_those_of_single_evaluators(tmp_path):
    backbone = backbone_with()
    suite, results = made(tmp_path, backbone)
    values = suite.run(ALL)
    lines, expected = results.read(), singles(backbone, OPTIONS)
    assert [line["name"] for line in lines] == [score.name for score in expected]
    for line, score in zip(lines, expected, strict=True):
        assert line["value"] == pytest.approx(score.value, abs=1e-5)
        for key, told in json.loads(json.dumps(score.protocol)).items():
            assert line[key] == (pytest.approx(told) if isinstance(told, float) else told), key
        assert ABOUT.items() <= line.items()
        assert line["features"] == (8 if score.name == "quality/rankme" else "backbone")  # RankMe: the width
        assert line["train_images"] == line["test_images"] == 36 and line["test_content"]
    assert values["knn/top1"] == [line["value"] for line in lines if line["name"] == "knn/top1"][-1]


def test_features_of_both_sources_are_computed_once(tmp_path, images_seen):
    suite, _ = made(tmp_path, backbone_with())
    suite.run(["embedding", "knn", "linear", "few", "quality", "retrieval", "robustness"])
    # the two sources; two crops of each test image (quality), one crop scale, five strengths of occlusion
    assert sum(images_seen) == 36 * (2 + 2 + 1 + 5)


def test_the_map_alone_computes_the_features_that_it_shows(tmp_path, images_seen):
    unlabelled = TRAIN.map(lambda element: {"image": element["image"]})
    options = SuiteOptions(map_images=10)
    suite, results = made(tmp_path, backbone_with(), options, unlabelled, None)
    suite.run(["embedding"])
    (line,) = results.read()
    assert sum(images_seen) == 36 and line["images"] == 10 and line["bank_images"] == 26
    assert line["train_images"] == line["test_images"] == 36 and "test_content" not in line


def test_some_evaluators_use_a_part_of_the_images(tmp_path):
    backbone = backbone_with()
    options = SuiteOptions(
        k=(5,),
        changes=("occlusion",),
        quality_images=20,
        curve_images=12,
        curve_train_images=18,
        sample_seed=7,
        check_content=False,
    )
    suite, results = made(tmp_path, backbone, options)
    suite.run(["quality", "retrieval", "robustness"])
    lines = results.read()
    counts = {line["name"].split("/")[0]: (line["train_images"], line["test_images"]) for line in lines}
    assert counts == {"quality": (36, 20), "retrieval": (36, 12), "robustness": (18, 12)}
    assert not any("test_content" in line for line in lines)
    rows = np.random.default_rng(7).permutation(36)
    bank = [array[rows[:18]] for array in suite.sets[:2]]
    part = TEST.subset(rows[:12])
    alone = evaluation.Robustness(backbone, *bank, part, PREPROCESSING, ("occlusion",), k=5).run()
    found = [line["value"] for line in lines if line["name"].startswith("robustness/")]
    assert found == pytest.approx([score.value for score in alone], abs=1e-5)


def test_pixels_are_judged_without_a_backbone(tmp_path):
    suite, results = made(tmp_path, None, SuiteOptions(k=(5,), fewer_per_class=True, per_class=50))
    suite.run(["knn", "linear", "few"])
    lines = results.read()
    assert {line["features"] for line in lines} == {"pixels"}
    assert [line["per_class"] for line in lines if line["name"] == "linear_few/top1"] == [12]
    with pytest.raises(ValueError, match="`names` must be some of knn, linear, few. Received: quality"):
        suite.run(["quality"])


@pytest.mark.backend_free
def test_few_labels_are_left_out_where_a_class_has_one_image(tmp_path):
    few = TRAIN.subset(np.arange(5))  # classes 0, 1, 2, 0, 1
    suite, results = made(tmp_path, None, SuiteOptions(k=(1,), fewer_per_class=True), few)
    assert suite.run(["few"]) == {} and results.read() == []


def test_images_that_both_sources_have_are_noted(tmp_path):
    suite, results = made(tmp_path, backbone_with(), SuiteOptions(k=(1,)), test=TRAIN)
    with pytest.warns(UserWarning, match="36 of 36 test images are in the training set too"):
        suite.run(["knn"])
    assert results.read()[0]["shared_images"] == 36


def test_cached_features_are_not_computed_again(tmp_path, images_seen):
    backbone = backbone_with()
    for _ in range(2):
        suite, _ = made(tmp_path, backbone, SuiteOptions(k=(1,)), cache=tmp_path / "features")
        suite.run(["knn"])
    assert sum(images_seen) == 72


def test_results_name_a_data_set_that_was_given_as_a_path(tmp_path):
    images, labels = np.zeros((4, 32, 32, 3), np.uint8), np.arange(4) % 2
    path = tmp_path / "mine.npz"
    np.savez(path, train_image=images, train_label=labels, test_image=images, test_label=labels)
    suite = RunEvaluation(tmp_path, "random", "resnet18", dataset=path, image_size=32).suite(cache=False)
    assert suite.about["dataset"] == str(path) and json.loads(json.dumps(suite.about)) == suite.about


@pytest.mark.backend_free
def test_streams_without_a_name_do_not_share_features(tmp_path):
    about, found = ABOUT | {"dataset": IN_PYTHON}, []
    for seed in (1, 5):
        streams = [pictures(seed=seed + part, noise=300).dataset for part in (0, 1)]
        results = Results(tmp_path / "results.jsonl")
        suite = Suite(backbone_with(), *streams, PREPROCESSING, results, about, OPTIONS, cache=tmp_path / "c")
        suite.run(["knn"])
        found.append(suite.all_sets[0])
    assert np.abs(found[0] - found[1]).max() > 0.1
    named, _ = made(tmp_path, backbone_with(), cache=tmp_path / "c")
    assert isinstance(named.all_sets[0], np.memmap)


@pytest.mark.backend_free
def test_classes_of_test_images_are_matched_by_their_names(tmp_path):
    def folder(split, *names):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
            for value in (0, 9, 18):
                picture = np.full((8, 8, 3), value, np.uint8)
                picture[..., ("ant", "bee", "cat", "dog").index(name) % 3] += 200
                Image.fromarray(picture).save(tmp_path / split / name / f"{value}.png")
        return kl.data.load(tmp_path, split)

    def suite(train, test):
        return Suite(
            None, train, test, PREPROCESSING, Results(tmp_path / "r.jsonl"), ABOUT, SuiteOptions(k=(3,))
        )

    train, test = folder("train", "ant", "bee", "cat"), folder("test", "bee", "cat")
    judged = suite(train, test)
    assert judged.run(["knn"])["knn/top1"] == 1 and judged.test.class_names == train.class_names
    with pytest.raises(
        ValueError, match="images of classes that the training images lack.*images of dog, and"
    ):
        suite(train, folder("test", "dog"))


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": ()}, "`k` must be whole numbers >= 1, at least one. Received: none"),
        ({"k": (1, 0)}, "`k` must be a whole number >= 1. Received: k=0"),
        ({"temperature": -1}, "`temperature` must be a number > 0. Received: temperature=-1"),
        ({"draws": 0}, "`draws` must be a whole number >= 1. Received: draws=0"),
        (
            {"crop_scales": (1.5,)},
            r"`crop_scales` must be numbers in \(0, 1\]. Received: crop_scales=\(1.5,\)",
        ),
    ],
)
def test_unusable_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SuiteOptions(**options)


@pytest.mark.backend_free
def test_unknown_changes_are_refused_before_features_are_computed(tmp_path, images_seen):
    suite, _ = made(tmp_path, backbone_with(), SuiteOptions(changes=("gausian_noise",)))
    with pytest.raises(ValueError, match="`changes` must be some of .*Received: gausian_noise"):
        suite.run(["knn", "robustness"])
    assert not images_seen


@pytest.mark.backend_free
def test_the_batch_size_and_the_precision_are_those_of_every_evaluator(tmp_path, monkeypatch):
    sizes, policies = [], []
    monkeypatch.setattr(
        evaluation.Transfer,
        "_score",
        lambda self, name, target: policies.append(self.backbone.layers[1].dtype_policy.name) or 1 / 0,
    )
    original = quality.labelled_batches
    monkeypatch.setattr(
        quality, "labelled_batches", lambda *given: sizes.append(given[2]) or original(*given)
    )
    options = SuiteOptions(k=(1,), batch_size=4, precision="mixed_bfloat16", targets=("cifar10",))
    suite, _ = made(tmp_path, backbone_with(), options)
    suite.run(["quality"])
    with pytest.raises(ZeroDivisionError):
        suite.run(["transfer"])
    assert sizes == [4, 4] and policies == ["mixed_bfloat16"]
