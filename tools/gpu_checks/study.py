"""The study of `tools/gpu_study.py`: runs of a recipe by several methods, trained and judged."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import math
import time

import keras
import numpy as np

import keras_leoclr as kl
from keras_leoclr.distribution.devices import Devices
from keras_leoclr.evaluation.feature_evaluators import KNN, FewLabels, Linear
from keras_leoclr.report.studies import COLLECTED, RANDOM
from keras_leoclr.runs.environment import environment
from keras_leoclr.runs.results import Results
from keras_leoclr.training import ablations, build
from keras_leoclr.training.studies import StudyRun, runs_of
from keras_leoclr.views import device
from tools.gpu_checks import cases
from tools.gpu_checks.correctness import compiled, tensors
from tools.gpu_checks.pictures import Canvases, pictures_in

SUITE = ("knn", "linear", "few")
KEPT = ("knn/top1", "knn_train/top1", "linear/top1", "linear_few/top1")
PROTOCOL = ("k", "per_class", "draws")
CURVE_POINTS = 10  # number of measurements while training
BATCH = 500  # pictures whose features are computed at a time


def study(options: argparse.Namespace, command: str) -> None:
    """Runs what is missing of a study.

    Args:
        options: the command line of `tools/gpu_study.py`.
        command: the command, which is recorded with each run.

    Raises:
        ValueError: if the recipe has no such preset, or no variant is to be run.
    """
    recipe = recipe_of(options)
    runs = runs_of(recipe, ablations.of("method", recipe), options.seeds)
    chosen = [run for run in runs if options.only in run.variant]
    if not chosen:
        known = ", ".join(dict.fromkeys(run.variant for run in runs))
        raise ValueError(f"`only` must be a part of one of {known}. Received: only={options.only!r}")
    sets = pictures_in(options.pictures)
    options.workdir.mkdir(parents=True, exist_ok=True)
    results = Results(options.workdir / "results.jsonl")
    for run in chosen:
        done = {(line["variant"], line["run"]) for line in results.read([]) if line["name"] == COLLECTED}
        if (run.variant, run.key) not in done:
            for line in lines_of(run, *sets, command):
                results.write(**line)


def recipe_of(options: argparse.Namespace):
    """The recipe with the settings of the command line."""
    module = importlib.import_module(f"recipes.{options.recipe}")
    presets = {"": module.RECIPE, **getattr(module, "PRESETS", {})}
    if options.preset not in presets:
        known = ", ".join(filter(None, presets)) or "none"
        raise ValueError(
            f"`preset` must be one of those of {options.recipe}: {known}. Received: preset={options.preset!r}"
        )
    recipe = presets[options.preset]
    changes = {"epochs": options.epochs, "image_size": options.image_size}
    changes = {name: value for name, value in changes.items() if value}
    dataset = options.pictures.name.split(".")[0]
    return dataclasses.replace(
        recipe, dataset=dataset, test_split="test", precision=options.precision, views_on="device", **changes
    )


def lines_of(run: StudyRun, train: tuple, test: tuple, command: str):
    """Trains and judges one run and yields its lines; the last says that the run is complete."""
    recipe = run.recipe
    if len(train[0]) < recipe.batch_size:
        raise ValueError(
            "`batch_size` must be at most the number of training pictures. "
            f"Received: batch_size={recipe.batch_size}, {len(train[0])} pictures"
        )
    about = {"ablation": "method", "variant": run.variant, "seed": recipe.seed, "run": run.key}
    say = functools.partial(print, f"{run.variant}, seed {recipe.seed}:", flush=True)
    keras.utils.set_random_seed(recipe.seed)
    views = build.make_views(recipe)
    steps = len(train[0]) // recipe.batch_size
    model = build.compiled_model(recipe, Devices(), steps, views=views)
    features = functools.partial(features_of, recipe, model.backbone)
    if run.place == 0:
        for line in judged(recipe, features(train), features(test)):
            say(f"random weights, {line['name']} {line['value']:.4f}")
            yield {**line, **about, "variant": RANDOM}
    every = max(1, recipe.epochs // CURVE_POINTS)
    shuffled = recipe.bn_groups > 1  # as `leoclr pretrain` does
    losses, curve, started = [], [], time.monotonic()
    for epoch in range(recipe.epochs):
        data = Canvases(train[0], views, recipe.batch_size, epoch, recipe.seed, permute_keys=shuffled)
        logs = model.fit(data, verbose=0, shuffle=False).history
        losses.append([epoch + 1, logs["loss_to_chance"][-1]])
        if not math.isfinite(losses[-1][1]):
            raise ArithmeticError(f"The loss is not finite in epoch {epoch + 1}.")
        if (epoch + 1) % every == 0 or epoch + 1 == recipe.epochs:
            curve.append([epoch + 1, knn_of_held_out(features(train))])
            now = f"epoch {epoch + 1}, {time.monotonic() - started:.0f} s"
            say(f"{now}, loss {losses[-1][1]:.3f} of chance, kNN {curve[-1][1]:.3f}")
    for line in judged(recipe, features(train), features(test)):
        say(f"{line['name']} {line['value']:.4f}")
        yield {**line, **about}
    for name, points in (("knn_top1", curve), ("loss_to_chance", losses)):
        yield {"name": f"curve/{name}", "value": points[-1][1], **about, "epochs": points}
    about |= {"place": run.place, "command": command, "suite": SUITE, "recipe": run.settings}
    about["changes"] = list(run.changes)
    machine = environment(keras.backend.backend())
    yield {"name": COLLECTED, "value": 1.0, **about, "environment": machine}


def features_of(recipe, backbone: keras.Model, pictures: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) of originals, without colour, blur or flip, and the labels (N,)."""
    looks = {"mean": recipe.mean, "std": recipe.std, "flip_probability": 0.0}
    plain = kl.LeOCLRViews(recipe.image_size, num_crops=1, original_photometrics=False, **looks)
    make = compiled(lambda batch: device.views_of_batch(plain.settings, batch)["query"])
    images, labels = pictures

    def batches():
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH]
            whole = np.concatenate([part, np.zeros((BATCH - len(part), *part.shape[1:]), part.dtype)])
            made = make(tensors(cases.canvases_of(plain, whole, (0, first))))
            yield keras.ops.convert_to_numpy(made)[: len(part)], labels[first : first + BATCH]

    return kl.evaluation.extract_features(backbone, batches(), precision="float32")


def knn_of_held_out(features: tuple[np.ndarray, np.ndarray]) -> float:
    """Accuracy by kNN on every fifth training picture, with the others as neighbours."""
    held_out = np.arange(len(features[1])) % 5 == 0
    bank, queries = ([part[rows] for part in features] for rows in (~held_out, held_out))
    return kl.evaluation.knn(*bank, *queries, k=20)["top1"]


def judged(recipe, train: tuple, test: tuple):
    """Yields the lines of the evaluators, without what says whose they are."""
    sets = (*train, *test)
    evaluators = (
        KNN(*sets, leave_one_out=True),
        Linear(*sets, seed=recipe.seed),
        FewLabels(*sets, per_class=10, draws=recipe.few_label_draws, seed=recipe.seed),
    )
    for evaluator in evaluators:
        for score in evaluator.run():
            if score.name in KEPT:
                protocol = {name: score.protocol[name] for name in PROTOCOL if name in score.protocol}
                counts = {"test_images": len(test[1]), "train_images": len(train[1])}
                yield {"name": score.name, "value": score.value, **protocol, **counts}
