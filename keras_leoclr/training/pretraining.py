"""`pretrain`: images, views, model, callbacks, training, evaluation and report in one page, which is long."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Iterable

import keras

from keras_leoclr import backbones, distribution, gpu_memory, model_card, report, wording
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.callbacks import Checkpoint, Feed, Health, OnlineLinearProbe, Progress, TensorBoard
from keras_leoclr.callbacks.guarded import check_callbacks, guarded
from keras_leoclr.checkpointing.fit import Position
from keras_leoclr.data.given import GivenImages
from keras_leoclr.data.parts import some_of, without_labels
from keras_leoclr.distribution.devices import Devices
from keras_leoclr.evaluation.scores import drop_unnamed
from keras_leoclr.model import LeOCLR
from keras_leoclr.report.unmeasured import unmeasured
from keras_leoclr.runs.folder import RunFolder, work_folder
from keras_leoclr.training import beginning, fields
from keras_leoclr.training.build import compiled_model, make_views, peak_learning_rate
from keras_leoclr.training.determinism import make_deterministic
from keras_leoclr.training.ending import Ending
from keras_leoclr.training.judging import Judge, final_scores
from keras_leoclr.training.measuring import measured
from keras_leoclr.training.monitors import monitors
from keras_leoclr.training.placing import place_of_views
from keras_leoclr.training.precision import decided
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.run_files import note_initial, renamed, save, write_skipped
from keras_leoclr.training.session import RunSession
from keras_leoclr.training.sources import RunSources, ViewBatches
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.preview import write_missed, write_views

SHOWN = 12  # number of images on the sheet of views
MISSED = 36  # number of images from which the one is chosen that shows what crops miss
PROJECTED = 1000  # number of images in the embedding projector of TensorBoard


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
    callbacks: Iterable[keras.callbacks.Callback] = (),
    images: GivenImages | None = None,
) -> dict:
    """Runs a recipe, or resumes it after an interruption.

    Args:
        recipe: the settings.
        workdir: folder for `recipe.json`, `run.json`, `history.csv`, `results.jsonl`, `checkpoints`,
            `backbone.keras` (raw images in, stock Keras layers), its model card `backbone.json` and
            `backbone.md`, `views.png`, `missed.png`, `report.html`, `progress.json` (what `leoclr watch`
            shows) and `logs` (for TensorBoard).
        overwrite: whether a run that is already in the folder may be deleted; false by default.
        verbose: 0 is silent, 1 (the default) updates one line on a terminal, 2 prints one line per epoch.
        checkpoint_minutes: minutes from one checkpoint to the next within an epoch, >= 0; 10 by default.
        checkpoint_budget: largest share of the time that checkpoints may take, in (0, 1], where 1 is no
            limit; 0.02 by default.
        keep: number of newest checkpoints that are kept, >= 1, beside the one with the best `knn_top1`; 3 by
            default.
        deterministic: whether the backend computes deterministically. A run that was interrupted then ends
            exactly like one that was not. False by default.
        tensorboard: "on", "off", or "auto" (the default), which writes `logs` if tensorboard is installed.
        override: whether to resume although settings or images have changed, as far as that is safe (see
            `Recipe`). With other `epochs`, the learning rate continues on the cosine of the new length; with
            more or fewer images, training continues at the same share of the epoch. False by default.
        settle: function that is called once the devices are known. It takes the recipe and returns the
            recipe that is run, and lines with the reasons, which are printed.
        callbacks: further Keras callbacks. They are called after the monitors of the run, whose measurements
            are then in the logs, and with several workers only on the first. If one raises an error, training
            ends after that step with a checkpoint, so that nothing is lost.
        images: the images, if they are given as objects; `dataset` is then only a name for them.

    Returns:
        The final results, `{"pretrained/linear/top1": 0.8, ...}`, which are empty without evaluation. A run
        that was already finished returns the results that it has written.

    Raises:
        ChangedRecipeError: if `workdir` holds a run with other settings, or one that began with other images.
        RunInProgressError: if another process runs in `workdir`.
        Interrupted: (a SystemExit) after SIGTERM or SIGINT, once a checkpoint is written.
        NonFiniteLossError: if the loss is not finite at some step.
        CallbackError: if one of `callbacks` has raised an error, once a checkpoint is written.
        Exception: if an evaluation, the table or the page fails after the training. `backbone.keras` is saved
            by then, `run.json` says "trained" and what "failed", and all other parts are complete. Another
            call, or `leoclr evaluate` and `leoclr report`, repeats what failed.
        ImportError: if `tensorboard` is "on" and the package is missing.
    """
    if not recipe.dataset:
        raise ValueError("`dataset` must name a data set, a folder or a file. Received: dataset=''")
    workdir = work_folder(workdir)
    with_logs = TensorBoard.wanted(tensorboard)
    own = check_callbacks(callbacks)
    if deterministic:
        make_deterministic()
    with distribution.connect(recipe.strategy) as devices:
        before = None if overwrite else RunFolder(workdir)
        recipe, reasons = settle(recipe) if settle else beginning.settled(recipe, run=before)[:2]
        recipe, why = decided(recipe, workdir, overwrite)
        recipe, numbers = measured(recipe, workdir, overwrite, images)
        why = [*why, *numbers]
        # If nothing was trained yet, any setting may change safely.
        override = override or not RunFolder(workdir).trained
        with RunSession(
            workdir, recipe, overwrite, override, deterministic, writes=devices.worker == 0
        ) as run:
            recipe = run.recipe
            devices.check_batch_size(recipe.batch_size, recipe.bn_groups)
            verbose = verbose if run.writes else 0
            if verbose and (reasons or why):
                print("\n".join([*reasons, *why]))
            if run.finished and not overwrite:
                if run.moved_from is not None or override:
                    RunSources.load(recipe, run.compare_data, run.draws, images)
                if verbose:
                    again = wording.named("`overwrite` runs it again.")
                    print(f"{_changes(run)}The run in {run.folder.path} is finished. {again}")
                return final_scores(run.folder.results, run.folder.recipe())
            checkpoint = Checkpoint(
                run.folder.checkpoints,
                minutes=checkpoint_minutes,
                keep=keep,
                budget=checkpoint_budget,
                files=(run.folder.history_file, run.folder.results_file),
                writes=run.writes,
            )
            return _pretrain(recipe, run, checkpoint, devices, verbose, with_logs, own, images)


def _pretrain(
    recipe: Recipe,
    run: RunSession,
    checkpoint: Checkpoint,
    devices: Devices,
    verbose: int,
    with_logs: bool,
    own: list[keras.callbacks.Callback],
    images: GivenImages | None,
) -> dict[str, float]:
    started = time.monotonic()

    def say(text):
        if verbose:
            print(text, flush=True)

    # === Images, views and model ===
    keras.utils.set_random_seed(recipe.seed)
    sources = RunSources.load(recipe, run.compare_data, run.draws, images)
    views = make_views(recipe)
    views_on, why = place_of_views(recipe, None if run.overwrite else run.folder)
    run.about["views_on"] = views_on
    batches = ViewBatches(recipe, sources.train, views, devices, views_on)
    initial = beginning.of_run(recipe, run.folder, run.overwrite)
    model = compiled_model(recipe, devices, batches.steps, initial, batches.views_of_model)
    anew = [] if initial is None else initial.fill(model)

    def draw_some():
        for write, count, path in (
            (write_views, SHOWN, run.folder.views_file),
            (write_missed, MISSED, run.folder.missed_file),
        ):
            write(views, some_of(sources.train, count), path, count, views_on, batches.canvas)

    # === The folder ===
    ended = _ended_by_callback(run)
    run.begin()
    devices.meet()  # All workers wait here until the folder is ready.
    if not run.writes:  # Only worker 0 writes files, measures and prints.
        checkpoint.restore(model, batches.steps)
        _fit(model, batches, checkpoint, devices, [Health()])
        return {}
    folder, results = run.folder, run.folder.results
    say(_introduction(recipe, model, sources, views, batches.steps, devices))
    say(f"Views are made on the {views_on}: {why}.{batches.bytes_to_device()}\n")

    # === Callbacks ===
    # The pictures that are judged are filtered for every method, so that those of a study are the same.
    preprocessing = dataclasses.replace(Preprocessing.of(views), antialias=recipe.antialias_original)
    feed = Feed(recipe.batch_size, views.num_key_views, batches.steps, batches.waiting.seconds)
    health = Health(feed, results)
    *chosen, history = monitors(recipe, sources, preprocessing, folder, health, devices.replicas)
    kept = {Health: "health", OnlineLinearProbe: "online_probe"}
    stateful = {kept[type(each)]: each for each in chosen if type(each) in kept}

    # === From the start, or where an interrupted run stopped ===
    judge = Judge(recipe, sources, preprocessing, results, say)
    untrained = None
    if run.changed and recipe.evaluate:
        with distribution.on_one_device(model.backbone) as backbone:  # Only this worker makes the copy.
            untrained = copy_of(backbone)
    checkpoint.stateful = dict(stateful)
    if run.changed:  # The classes may have changed, so the online classifier is not restored.
        checkpoint.stateful.pop("online_probe", None)
    at = checkpoint.restore(model, batches.steps)
    checkpoint.stateful = stateful
    if checkpoint.resumed:
        _note_resumed(run, at)
        say(_resumed(folder, at, checkpoint.budget))
        if run.deterministic and not run.about["deterministic"]:
            say("Steps before were not computed deterministically, so that the run as a whole is not.\n")
        if run.changed:
            say(_changes(run))
            draw_some()
            judge.forget_before_training()
            judge.before_training(untrained)
        elif run.moved_from is not None:
            results.replace([renamed(line, run.moved_from, recipe.dataset) for line in results.read()])
        drop_unnamed(results)  # These files were left by an evaluation that was interrupted.
        if run.changed or run.moved_from is not None:  # The checkpoint must also record the changed data.
            checkpoint.set_model(model)
            checkpoint.save(at)
    else:
        for path in checkpoint.files:  # An earlier start that ended before its first checkpoint left them.
            path.unlink(missing_ok=True)
        drop_unnamed(results)
        draw_some()
        if initial is not None:
            note_initial(run, model.backbone, initial, anew, say)
        judge.before_training(model.backbone)
    run.note_data()
    run.add(labelled=sources.labelled.labelled)

    # === Training ===
    if with_logs:
        projected = some_of(sources.train, PROJECTED)
        chosen.append(TensorBoard(folder.logs, folder.views_file, projected, views))
    ending = Ending(folder.path)
    with ending.part("logs"), contextlib.closing(Progress(feed, run.status, verbose)) as shown:
        if ended and checkpoint.resumed:
            say("A callback has ended the training of this run: what comes after it is made.\n")
        else:
            # The history comes after the user's callbacks, whose numbers it takes from the logs as well.
            every = [*chosen, *guarded(own, checkpoint.stop), history, shown]
            _fit(model, batches, checkpoint, devices, every)
    done, more = checkpoint.position or (0, 0)
    if ending.failed and done < recipe.epochs:
        raise ending.failed["logs"]  # This error has ended the training before its last epoch.
    run.status.update(now=True, state="evaluating")
    say(f"Checkpoints: {checkpoint.written} written, {checkpoint.share:.2%} of the training time.")

    # === Files ===
    if stated := model_card.licence(folder.path):  # The card of the run before it was continued.
        run.add(licence=stated)
    model_card.remove(folder.path)
    save(backbones.with_normalization(model.backbone, recipe.mean, recipe.std), folder.backbone_file)
    if done < recipe.epochs:
        steps = f" and {more} of {batches.steps} steps" if more else ""
        say(f"A callback ended the training after {done} of {recipe.epochs} epochs{steps}.")
        run.add(epochs_done=done)
    run.add(trained=True)  # Every step that fails from here on can be repeated.
    with ending.part("model"):
        if devices.workers == 1:  # Keras also saves the metrics, which needs all workers to take part.
            save(model, folder.model_file)
    with ending.part("model card"):
        model_card.write(folder.path, images=sources.train.count)
    with ending.part("list of skipped pictures"):
        write_skipped(sources.train.failures, folder, say)

    # === Judgement and report ===
    judge.after_training(model.backbone, done, ending.part)
    if recipe.evaluate:
        with ending.part("model card"):
            model_card.write(folder.path)  # The card is written again, now with the results.
        with ending.part("table"):
            say("\n" + report.table(results.read(), recipe=folder.recipe()))
    else:
        say(f"\n{unmeasured(folder.path)}")
    run.finish(ending.left())  # This precedes the page, which says whether the run is finished.
    with ending.part("page"):
        page = report.write_report(folder.path, meanings=fields.meanings(recipe))
    if ending.failed:
        say(f"\n{ending.message()}")
        ending.raise_first()
    minutes = (time.monotonic() - started) / 60
    written = ", ".join(path.name for path in (folder.backbone_file, folder.card_page, folder.results_file))
    say(f"\nDone in {minutes:.1f} minutes. In {folder.path}: {written}.\nTo look at: {page}")
    return final_scores(results, folder.recipe())


def _fit(
    model: LeOCLR,
    batches: ViewBatches,
    checkpoint: Checkpoint,
    devices: Devices,
    chosen: list[keras.callbacks.Callback],
) -> None:
    recipe = batches.recipe
    divisor = devices.replicas * recipe.bn_groups
    distribute = functools.partial(devices.distribute, batch_size=recipe.batch_size)
    with gpu_memory.explained(model, recipe.batch_size, divisor), devices.together():
        # The argument is verbose=0 because the callback `Progress` prints instead of Keras.
        checkpoint.fit(model, batches.at, recipe.epochs, chosen, verbose=0, distribute=distribute)


def _introduction(recipe, model, sources, views, steps, devices) -> str:
    chance = model.chance_level(views.num_key_views, recipe.batch_size)
    labels = sources.labelled.labels
    missing = "" if labels is None else without_labels(recipe.labelled_split, labels)
    return (
        f"{recipe.method} on {recipe.dataset}: {sources.train.count} images, {recipe.epochs} epochs of "
        f"{steps} steps, {keras.backend.backend()} backend\n"
        f"{devices.describe(recipe.batch_size)} Learning rate {peak_learning_rate(recipe):.4g} "
        f"({recipe.learning_rate:g} per 256 images of an update).\n"
        f"The loss of a model that has learned nothing is {chance:.2f} (loss_to_chance 1).\n"
        + (f"{missing}\n" if missing else "")
    )


def _changes(run: RunSession) -> str:
    """How the images differ from those that the run was trained on; "" if they do not."""
    if not run.changed:
        return ""
    lines = "\n".join(f"  {split}: {change}" for split, change in run.changed.items())
    text = f"The images are others than those that the run began with:\n{lines}\n"
    return (
        f"{text}{wording.named('With more `epochs` the run goes on with them.')}\n" if run.finished else text
    )


def _ended_by_callback(run: RunSession) -> bool:
    """Whether a callback has ended the training of a run, and only what comes after it is left to do.

    The training does not go on then, unless it is asked for with other `epochs` or other images.
    """
    about = {} if run.overwrite or run.changed else run.folder.about()
    same = run.folder.recipe().get("epochs") == run.recipe.epochs
    return bool(about.get("trained") and "epochs_done" in about and same)


def _note_resumed(run: RunSession, at: Position) -> None:
    run.add(resumed=[*run.about.get("resumed", []), [at.epoch, at.batch]])


def _resumed(folder: RunFolder, at: Position, budget: float) -> str:
    every = wording.settings(checkpoint_budget=1)
    text = f"Resumed from {folder.checkpoints}: {at.epoch} epochs and {at.batch} steps are done.\n"
    if at == (0, 0):
        text += (
            "No later checkpoint was written: the epochs were short, and checkpoints may take "
            f"{budget:.0%} of the time. {every} writes one after every epoch.\n"
        )
    return text
