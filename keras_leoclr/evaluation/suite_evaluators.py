"""Creates each evaluator of the suite from the options and from the features that are already computed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from keras_leoclr import data, evaluation
from keras_leoclr.data.parts import has_label
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.suite_options import SuiteOptions

if TYPE_CHECKING:
    from keras_leoclr.evaluation.suite import Suite

# The scores of an evaluator, and the entries of their protocol that differ from those of the whole suite.
Made = tuple[Iterable[Any], dict[str, Any]]


def _knn(suite: Suite) -> Made:
    options = suite.options
    how = {"temperature": options.temperature, "leave_one_out": options.leave_one_out}
    return evaluation.KNN(*suite.sets, k=options.k, **how).run(), {}


def _linear(suite: Suite) -> Made:
    return evaluation.Linear(*suite.sets, seed=suite.options.seed).run(), {}


def _few(suite: Suite) -> Made:
    options, per_class = suite.options, suite.options.per_class
    if options.fewer_per_class:
        per_class = min(per_class, int(kind_of(suite.sets[1]).counts(suite.sets[1])[1].min()))
        if per_class < 2:
            return (), {}
    few = evaluation.FewLabels(*suite.sets, per_class=per_class, draws=options.draws, seed=options.seed)
    return few.run(), {}


def _quality(suite: Suite) -> Made:
    options = suite.options
    part, known, protocol = suite.test_part(options.quality_images)
    how = {**options.vote, "seed": options.seed, "test_set": known, "batch_size": options.batch}
    quality = evaluation.Quality(suite.frozen, *suite.all_sets[:2], part, suite.preprocessing, **how)
    return quality.run(), protocol


def _of_images(options: SuiteOptions, verbose: bool) -> dict[str, Any]:
    return {"seed": options.seed, "batch_size": options.batch, "verbose": verbose}


def _retrieval(suite: Suite) -> Made:
    options = suite.options
    part, known, protocol = suite.test_part(options.curve_images)
    how = _of_images(options, suite.verbose) | {"originals": known and known[0]}
    if options.crop_scales:
        how["crop_scales"] = options.crop_scales
    return evaluation.Retrieval(suite.frozen, part, suite.preprocessing, **how).run(), protocol


def _check_rgb(suite: Suite, what: str) -> None:
    """Raises ValueError where images are not RGB, which those of other data sets are."""
    if suite.preprocessing.channels != 3:
        raise ValueError(
            f"`{what}` is for backbones of RGB images alone: its images are RGB of 8 bits. "
            f"Received: a backbone of images with {suite.preprocessing.channels} channels"
        )


def _robustness(suite: Suite) -> Made:
    options = suite.options
    part, known, protocol = suite.test_part(options.curve_images)
    train = suite.curve_train()
    how = {**_of_images(options, suite.verbose), **options.vote, "test_set": known}
    how["changes"] = options.changes or None
    robustness = evaluation.Robustness(suite.frozen, *train, part, suite.preprocessing, **how)
    protocol["train_images"] = len(train[1])
    if known is not None:
        protocol["test_images"] = int(has_label(known[1]).sum())
    return robustness.run(), protocol


def _embedding(suite: Suite) -> Made:
    options = suite.options
    how = {"images": options.map_images, "projection": options.projection, **options.vote}
    how |= {"batch_size": options.batch, "seed": options.draw}
    if "all_sets" in vars(suite):
        how |= {"bank_set": suite.all_sets[:2], "query_set": suite.all_sets[2:]}
    embedding = evaluation.Embedding(suite.frozen, suite.train, suite.test, suite.preprocessing, **how)
    return embedding.run(), {}


def _linear_paper(suite: Suite) -> Made:
    options = suite.options
    how = {"learning_rates": options.learning_rates, "epochs": options.epochs or 100}
    how |= _of_images(options, suite.verbose)
    sources = (suite.train, suite.test)
    return evaluation.LinearProbe(suite.backbone, *sources, suite.preprocessing, **how).run(), {}


def _finetune(suite: Suite) -> Made:
    # `finetune` needs TensorFlow, which evaluators of features do not.
    from keras_leoclr.evaluation.finetune import RATES_OF_PUBLISHED

    options, train, fraction = suite.options, suite.train, suite.options.fraction
    published = evaluation.published_list(suite.about.get("dataset"), fraction)
    how = {name: getattr(options, name) for name in ("epochs", "batch_size", "seeds")}
    if published:
        train, fraction = data.load(published, "train", suite.data_dir), 1.0
        how |= RATES_OF_PUBLISHED[options.fraction]
    given = {name: getattr(options, name) for name in ("backbone_rate", "head_rate")}
    how |= {name: rate for name, rate in given.items() if rate is not None} | {"verbose": suite.verbose}
    scores = evaluation.Finetune(
        suite.backbone, train, suite.test, suite.preprocessing, fraction, **how
    ).run()
    return _as_published(scores, options.fraction, published) if published else scores, {}


def _as_published(scores, fraction, published) -> Iterator[Any]:
    for score in scores:
        score.protocol |= {"fraction": fraction, "labels_from": published}
        yield score


def _transfer(suite: Suite) -> Made:
    _check_rgb(suite, "transfer")
    known = evaluation.TARGETS
    names = suite.options.targets or list(known)
    targets = [known.get(name) or evaluation.Target(name) for name in names]
    how = {"cache": suite.cache, **_of_images(suite.options, suite.verbose)}
    transfer = evaluation.Transfer(suite.frozen, suite.preprocessing, targets, suite.data_dir, **how)

    def scores():
        yield from transfer.run()
        for name, why in transfer.missing.items():
            print(f"{name} is left out: {why}", file=sys.stderr)

    return scores(), {}


MAKERS: dict[str, Callable[[Suite], Made]] = {
    "knn": _knn,
    "linear": _linear,
    "few": _few,
    "linear_paper": _linear_paper,
    "finetune": _finetune,
    "retrieval": _retrieval,
    "robustness": _robustness,
    "quality": _quality,
    "embedding": _embedding,
    "transfer": _transfer,
}
