"""What every recipe does: pretrain, watch, evaluate, save."""

from __future__ import annotations

import contextlib
import functools
import itertools
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np

import keras_leoclr as kl
from keras_leoclr import callbacks, distribution, evaluation, model_card, report
from keras_leoclr.callbacks.tensorboard import PROJECTED
from keras_leoclr.data.source import Source
from keras_leoclr.evaluation.scores import drop_unnamed
from keras_leoclr.runs.files import whole_path
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results
from keras_leoclr.training.build import compiled_model, make_views, peak_learning_rate
from keras_leoclr.training.determinism import make_deterministic
from keras_leoclr.training.recipe import Recipe, knn_sizes
from keras_leoclr.training.session import RunSession
from keras_leoclr.views.preview import write_views

# What the report shows of every run; `leoclr evaluate` measures more, and on all images.
QUALITY_IMAGES = 10_000
CURVE_KEYS = {"class", "crop_scale", "change"}  # of lines that are one of several with their name
CURVE_BANK = 2_500  # training images that the classifiers of the curves are fitted to
PROBE_BATCH = 64  # images of a step of the classifier that is trained alongside
MOST_PIXELS = 1 << 30  # bytes of all images as raw pixels, above which these are not judged
CURVES = ("random_crop", "occlusion", "gaussian_noise", "gaussian_blur")


def pretrain(
    recipe: Recipe,
    workdir: str | pathlib.Path,
    overwrite: bool = False,
    verbose: int = 1,
    checkpoint_minutes: float = 10.0,
    checkpoint_budget: float = 0.02,
    keep: int = 3,
    deterministic: bool = False,
    override: bool = False,
    tensorboard: str = "auto",
    settle: Callable[[Recipe], tuple[Recipe, list[str]]] | None = None,
) -> dict:
    """Runs a recipe, or goes on with it where it was interrupted.

    Args:
        recipe: the settings.
        workdir: folder for `recipe.json`, `run.json`, `history.csv`, `results.jsonl`, `checkpoints`,
            `backbone.keras` (raw images in, stock Keras layers), its model card `backbone.json` and
            `backbone.md`, `views.png`, `report.html`, `progress.json` (what `leoclr watch` shows) and
            `logs` (TensorBoard's).
        overwrite: whether a run that is already there may be deleted.
        verbose: 0 silent, 1 a line that changes where there is a terminal, 2 one line per epoch.
        checkpoint_minutes: >= 0, from one checkpoint to the next within an epoch.
        checkpoint_budget: in (0, 1], largest share of the time that checkpoints may take; 1 for no limit.
        keep: >= 1, newest checkpoints that are kept, beside the one of the best `knn_top1`.
        deterministic: ask the backend for the same bits every time. An interrupted run then ends exactly
            like one that was not.
        tensorboard: "on", "off", or "auto": write `logs` if the package tensorboard is there.
        override: resume although settings have changed, as far as that is safe (see `Recipe`). With
            other `epochs`, the learning rate goes on along the cosine of the new length.
        settle: called once the devices are known: the recipe to the one that is run, and lines that say
            why, which are printed.

    Returns:
        The final results, `{"pretrained/linear/top1": 0.8, ...}`; empty without evaluation. Of a finished
        run, those that it has written.

    Raises:
        ChangedRecipeError: if `workdir` holds a run with other settings.
        RunInProgressError: if another process runs in `workdir`.
        Interrupted: (a SystemExit) after SIGTERM or SIGINT, when a checkpoint is written.
        NonFiniteLossError: if the loss is not finite at some step.
        ImportError: if `tensorboard` is "on" and the package is missing.
    """
    if not recipe.dataset:
        raise ValueError("`dataset` must name a data set, a folder or a file. Received: dataset=''")
    logs = callbacks.TensorBoard.wanted(tensorboard)
    if deterministic:
        make_deterministic()
    with distribution.connect(recipe.strategy) as devices:
        recipe, reasons = settle(recipe) if settle else (recipe, [])
        with RunSession(
            workdir, recipe, overwrite, override, deterministic, writes=devices.worker == 0
        ) as run:
            devices.check_batch_size(recipe.batch_size)
            verbose = verbose if run.writes else 0
            if verbose and reasons:
                print("\n".join(reasons))
            if run.finished and not overwrite:
                if verbose:
                    print(f"The run in {run.folder.path} is finished. `overwrite` runs it again.")
                return _final(run.folder.results)
            checkpoint = callbacks.Checkpoint(
                run.folder.checkpoints,
                minutes=checkpoint_minutes,
                keep=keep,
                budget=checkpoint_budget,
                files=(run.folder.history_file, run.folder.results_file),
                writes=run.writes,
            )
            return _pretrain(recipe, run, checkpoint, devices, verbose, logs)


def _pretrain(recipe, run, checkpoint, devices, verbose, logs) -> dict:
    started = time.monotonic()
    keras.utils.set_random_seed(recipe.seed)
    source = _source(recipe, recipe.train_split)
    views = make_views(recipe)
    waiting = kl.data.Waiting()

    @functools.cache  # the count of steps and a run from the start are of one dataset, built once
    def dataset_at(epoch, batch):
        dataset = kl.data.view_dataset(
            source,
            views,
            recipe.batch_size,
            seed=recipe.seed,
            shuffle_buffer=recipe.shuffle_buffer or None,
            # among the parts of a batch, of this worker's devices, with statistics of their own
            permute_keys=recipe.bn_groups * devices.replicas > devices.workers,
            shard=devices.shard,
            initial_epoch=epoch,
            initial_batch=batch,
        )
        return waiting.watch(dataset)

    probe_source = _source(recipe, recipe.probe_split) if recipe.probe_split else source
    labelled = probe_source.labelled
    if recipe.evaluate and not labelled:
        raise ValueError(
            "`evaluate` must be off (`--noevaluate`) or `probe_split` name a split with labels. "
            f"Received: dataset={recipe.dataset!r}, whose split {recipe.labelled_split!r} has none"
        )
    knn = knn_sizes(recipe, int(probe_source.cardinality())) if recipe.knn_every and labelled else None
    steps = int(dataset_at(0, 0).cardinality())
    if steps < 0:
        raise ValueError(
            f"`dataset` must have a known number of images. Received: dataset={recipe.dataset!r}, "
            "a stream of unknown length; TFRecord files without compression and folders have one"
        )
    model = compiled_model(recipe, devices, steps)

    def fit(chosen):
        with devices.together():
            checkpoint.fit(
                model,
                dataset_at,
                recipe.epochs,
                chosen,
                verbose=0,  # `Progress` speaks
                distribute=lambda dataset: devices.distribute(dataset, recipe.batch_size),
            )

    run.begin()
    devices.meet()  # the folder is now as the run needs it
    if not run.writes:  # worker 0 writes, measures and speaks
        checkpoint.restore(model)
        fit([callbacks.Health()])
        return {}
    folder, workdir = run.folder, run.folder.path
    results = folder.results

    def say(text):
        if verbose:
            print(text, flush=True)

    chance = model.chance_level(views.num_key_views, recipe.batch_size)
    say(
        f"{recipe.method} on {recipe.dataset}: {int(source.cardinality())} images, {recipe.epochs} epochs of "
        f"{steps} steps, {keras.backend.backend()} backend\n"
        f"{devices.describe(recipe.batch_size)} Learning rate {peak_learning_rate(recipe):.4g} "
        f"({recipe.learning_rate:g} per 256 images of an update).\n"
        f"The loss of a model that has learned nothing is {chance:.2f} (loss_to_chance 1).\n"
    )
    test_source = _source(recipe, recipe.test_split) if recipe.evaluate else None
    feed = callbacks.Feed(recipe.batch_size, views.num_key_views, steps, waiting.seconds)
    health = callbacks.Health(feed, results)
    chosen = _callbacks(recipe, probe_source, views, workdir, results, health, knn, devices)
    checkpoint.stateful = {"health": health}
    for each in chosen:
        if isinstance(each, callbacks.OnlineLinearProbe):
            checkpoint.stateful["online_probe"] = each
    at = checkpoint.restore(model)
    if not checkpoint.resumed:
        for path in checkpoint.files:  # of a start that did not come to its first checkpoint
            path.unlink(missing_ok=True)
        drop_unnamed(results)
        write_views(views, source, folder.views_file)
        if recipe.evaluate:
            say("Before training: raw pixels and the randomly initialised backbone")
            size = _pixel_bytes(recipe, probe_source, test_source)
            if size > MOST_PIXELS:
                say(f"Raw pixels are left out: they are {size / 2**30:.1f} GiB, more than 1.")
            else:
                _evaluate(recipe, "raw pixels", None, probe_source, test_source, views, results, epoch=0)
            _evaluate(recipe, "random", model.backbone, probe_source, test_source, views, results, epoch=0)
    else:
        say(f"Resumed from {folder.checkpoints}: {at.epoch} epochs and {at.batch} steps are done.\n")
        drop_unnamed(results)  # of an evaluation that was interrupted
        run.add(resumed=[*run.about.get("resumed", []), [at.epoch, at.batch]])
    used = {recipe.train_split: source, recipe.labelled_split: probe_source}
    used |= {} if test_source is None else {recipe.test_split: test_source}
    run.add(data={name: evaluation.data_identity(s, recipe.dataset, name) for name, s in used.items()})
    if logs:
        chosen.append(callbacks.TensorBoard(folder.logs, folder.views_file, source.take(PROJECTED), views))
    with contextlib.closing(callbacks.Progress(feed, run.status, verbose)) as shown:
        fit([*chosen, shown])
    run.status.update(now=True, state="evaluating")
    say(f"Checkpoints: {checkpoint.written} written, {checkpoint.share:.2%} of the training time.")
    if devices.workers == 1:  # Keras saves the metrics too, and all workers would have to take part
        _save(model, folder.model_file)
    model_card.remove(workdir)  # of a run that goes on for more epochs
    _save(kl.backbones.with_normalization(model.backbone, recipe.mean, recipe.std), folder.backbone_file)
    model_card.write(workdir, images=int(source.cardinality()))
    failures = source.failures
    if failures.count:
        failures.write(folder.skipped_file)
        say(f"{failures.count} pictures could not be read and were skipped: {folder.skipped_file}")
    if recipe.evaluate:
        say("\nAfter training: the pretrained backbone")
        _evaluate(
            recipe,
            "pretrained",
            model.backbone,
            probe_source,
            test_source,
            views,
            results,
            epoch=recipe.epochs,
        )
        model_card.write(workdir)  # with the results
        say("\n" + report.table(results.read()))
    elif recipe.map_images:
        _map(recipe, "pretrained", model.backbone, source, None, views, results, epoch=recipe.epochs)
    run.finish()  # before the page, which says whether it is
    page = report.write_report(workdir)
    minutes = (time.monotonic() - started) / 60
    say(f"\nDone in {minutes:.1f} minutes. In {workdir}: backbone.keras, backbone.md, results.jsonl.")
    say(f"To look at: {page}")
    return _final(results)


def _final(results: Results) -> dict:
    """Accuracies of the evaluations, `{"pretrained/linear/top1": 0.8, ...}`."""
    return {
        f"{line['subject']}/{line['name']}": line["value"]
        for line in results.read()
        if "subject" in line and not CURVE_KEYS & line.keys()
    }


def _save(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a Keras model, whole or not at all."""
    with whole_path(path) as partial:
        model.save(partial)


def _source(recipe: Recipe, split: str) -> Source:
    source = kl.data.load(recipe.dataset, split, recipe.data_dir, on_error=recipe.on_error)
    return source.take(recipe.max_images) if recipe.max_images else source


def _callbacks(recipe, source, views, workdir, results, health, knn, devices) -> list:
    # In this order: no checkpoint is written for a loss that is not finite, and the monitors' numbers
    # are in the logs before they are written.
    chosen = [health]
    # what an epoch may lack: a measurement, or a speed where it was resumed at its last step
    columns = ["images_per_second", "waiting"]
    if knn is not None:
        bank, rest = source.take(knn[0]), source.skip(knn[0])
        queries = kl.data.image_batches(rest.take(knn[1]), views)
        monitor = callbacks.KNNMonitor(
            kl.data.image_batches(bank, views), queries, every=recipe.knn_every, results=results
        )
        chosen.append(monitor)
        columns.append("knn_top1")
        if recipe.online_probe and devices.replicas == 1:
            images = kl.data.image_batches(bank, views, PROBE_BATCH)
            chosen.append(callbacks.OnlineLinearProbe(images, monitor, results=results))
            columns.append("online_linear_top1")
    return [*chosen, callbacks.HistoryFile(RunFolder(workdir).history_file, columns)]


def _evaluate(recipe, subject, backbone, train, test, views, results, epoch) -> None:
    """kNN and linear probes; `backbone=None` judges the pixels themselves."""
    sets = []
    for source in (train, test):
        batches = kl.data.image_batches(source, views)
        if backbone is None:
            pixels = [(np.reshape(i, (len(i), -1)), np.asarray(y)) for i, y in batches.as_numpy_iterator()]
            sets += [np.concatenate(part) for part in zip(*pixels, strict=True)]
        else:
            sets += evaluation.extract_features(backbone, batches)
    protocol = _protocol(recipe, subject, epoch) | {
        "features": "pixels" if backbone is None else "backbone",
        "test_split": recipe.test_split,
        "train_images": len(sets[1]),
        "test_images": len(sets[3]),
    }
    evaluators = [evaluation.KNN(*sets, k=(20,)), evaluation.Linear(*sets)]
    few = min(10, int(np.unique(sets[1], return_counts=True)[1].min()))
    if few >= 2:
        evaluators.append(evaluation.FewLabels(*sets, per_class=few, draws=recipe.few_label_draws))
    scores = itertools.chain.from_iterable(evaluator.run() for evaluator in evaluators)
    evaluation.write_scores(scores, results, **protocol)
    if backbone is None:
        return
    if recipe.map_images:
        _map(recipe, subject, backbone, train, test, views, results, epoch)
    part = test.sample(QUALITY_IMAGES, recipe.seed)
    some = {"test_images": int(part.cardinality())}
    evaluation.write_scores(
        evaluation.Quality(backbone, *sets[:2], part, views).run(), results, **protocol | some
    )
    if recipe.curve_images:
        part = test.sample(recipe.curve_images, recipe.seed)
        bank = np.random.default_rng(recipe.seed).permutation(len(sets[1]))[:CURVE_BANK]
        some = {"test_images": int(part.cardinality()), "train_images": len(bank)}
        curves = (
            evaluation.Retrieval(backbone, part, views),
            evaluation.Robustness(backbone, *(array[bank] for array in sets[:2]), part, views, CURVES),
        )
        scores = itertools.chain.from_iterable(evaluator.run() for evaluator in curves)
        evaluation.write_scores(scores, results, **protocol | some)


def _map(recipe, subject, backbone, train, test, views, results, epoch) -> None:
    """Map and neighbours, of test images or of training images that are left out of the others."""
    shown = train if test is None else test
    if int(shown.cardinality()) < 3:  # or unknown
        return
    split = recipe.train_split if test is None else recipe.test_split
    scores = evaluation.Embedding(backbone, train, test, views, recipe.map_images, seed=recipe.seed).run()
    protocol = _protocol(recipe, subject, epoch) | {"features": "backbone", "test_split": split}
    protocol |= {"train_images": int(train.cardinality()), "test_images": int(shown.cardinality())}
    if test is None:
        protocol["train_split"] = split
    evaluation.write_scores(scores, results, **protocol)


def _protocol(recipe, subject, epoch) -> dict:
    about = {"subject": subject, "dataset": recipe.dataset, "train_split": recipe.labelled_split}
    return about | {"epoch": epoch}


def _pixel_bytes(recipe: Recipe, *sources: Source) -> int:
    return sum(int(source.cardinality()) for source in sources) * recipe.image_size**2 * 3 * 4
