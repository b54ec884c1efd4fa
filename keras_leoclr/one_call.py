"""What the commands `leoclr pretrain` and `leoclr evaluate` do, each as one call of Python."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import os
import pathlib
import tempfile
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from keras_leoclr.data.given import named
from keras_leoclr.run_handle import Run
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe

if typing.TYPE_CHECKING:
    import keras

RUN_OPTIONS = ("overwrite", "override", "verbose", "checkpoint_minutes", "checkpoint_budget", "keep")
RUN_OPTIONS += ("deterministic", "tensorboard")  # of `training.pretraining.pretrain`


def pretrain(
    data: Any,
    workdir: str | os.PathLike,
    *,
    recipe: str | Recipe = "image_folder",
    preset: str = "full",
    callbacks: Iterable[keras.callbacks.Callback] = (),
    overwrite: bool = False,
    override: bool = False,
    verbose: int = 1,
    checkpoint_minutes: float = 10.0,
    checkpoint_budget: float = 0.02,
    keep: int = 3,
    deterministic: bool = False,
    tensorboard: str = "auto",
    **fields: Any,
) -> Run:
    """Pretrains a backbone on pictures, or goes on where an earlier call was interrupted.

    This is `leoclr pretrain image_folder`: method, size, backbone, batch, epochs, queue and momentum are
    chosen by the pictures and the computer, and each choice is printed with its reason. Whatever is given as
    a field stays as it is given. A run that goes on keeps the choices that it began with, and a finished one
    is returned at once.

    Args:
        data: the pictures: whatever `kl.data.load` takes (a folder, a name, a file, a dictionary of arrays);
            a `Source` or a `tf.data.Dataset` of images, which is trained on; or a dictionary of these by the
            name of their split, such as `{"train": source, "test": other}`. None for the data set of a
            recipe that has one. A "test" among objects, with labels, is what the backbone is judged on.
        workdir: folder for the results of the run.
        recipe: name of a recipe, see `leoclr recipes`, or a `Recipe` of your own.
        preset: "full", "smoke" for the same run, small, in under a minute, or another one of the recipe.
        callbacks: of your own, of Keras, such as those of Weights & Biases or MLflow. They see the model
            and, in the logs, what the run measures. One that raises an error ends the run after that step
            with a checkpoint, and the error names it.
        overwrite: whether a run that is already in `workdir` is deleted.
        override: whether a run that is already there goes on with other settings, as far as that is safe.
        verbose: 0 silent, 1 a line that changes where there is a terminal, 2 one line per epoch.
        checkpoint_minutes: >= 0, from one checkpoint to the next within an epoch.
        checkpoint_budget: in (0, 1], largest share of the time that checkpoints may take.
        keep: >= 1, newest checkpoints that are kept, beside the best by kNN.
        deterministic: ask the backend for the same bits every time.
        tensorboard: "on", "off", or "auto": write logs if the package tensorboard is there.
        **fields: settings of `Recipe` by name, such as `epochs=100` or `method="leoclr"`.

    Returns:
        The run: `run.results`, `run.backbone()`, `run.report`, `run.path`.

    Raises:
        ValueError: for a field that there is not, with near ones, or a value that is not allowed; for
            pictures that cannot be used.
        ChangedRecipeError: if `workdir` holds a run with other settings.
        CallbackError: if one of the callbacks has raised an error.

    Example:
        ```python
        run = kl.pretrain("pictures", "runs/mine", epochs=50)
        print(run.results, run.report)
        features = run.backbone().predict(images)
        ```
    """
    from keras_leoclr.training import settling
    from keras_leoclr.training.pretraining import pretrain as train

    options = {name: value for name, value in locals().items() if name in RUN_OPTIONS}
    module = _recipe_module(recipe)
    given = _fields(fields, Recipe, "pretrain")
    images = None
    if data is not None:
        given["dataset"], images = named(data)
        if images is not None and "test" in images.splits and images.load("test").labelled:
            given.setdefault("evaluate", True)
    presets = settling.presets_of(module)
    if preset not in presets:
        raise ValueError(f"`preset` must be one of {', '.join(presets)}. Received: preset={preset!r}")
    made, settle = settling.requested(module, preset, given, workdir, overwrite, override, images)
    train(made, workdir, **options, settle=settle, callbacks=callbacks, images=images)
    return Run(workdir)


def evaluate(
    run_or_backbone: Any,
    data: Any = None,
    suite: str | Sequence[str] = ("knn", "linear", "few"),
    *,
    workdir: str | os.PathLike | None = None,
    cache: bool = True,
    verbose: bool = True,
    **settings: Any,
) -> dict[str, float]:
    """Judges a backbone on pictures with labels, as `leoclr evaluate` does.

    Args:
        run_or_backbone: a `Run` or the folder of one; the path of a `.keras` file or of torch weights; or a
            Keras model (B, H, W, C) -> (B, features), also a `LeOCLR`, whose backbone is judged.
        data: the pictures, as `pretrain` takes them, with a split to fit classifiers to and one to judge on
            ("train" and "test", or as `train_split` and `test_split` say). None for those of the run.
        suite: one or several of `evaluation.EVALUATORS`, or "all".
        workdir: folder for `results.jsonl` and what belongs to it; by default that of the run, and none for
            a backbone.
        cache: whether features are kept in the folder.
        verbose: whether to print scores and show progress.
        **settings: of `evaluation.RunEvaluation` (`image_size`, `mean`, `max_images`, `subject`, ...) and of
            `evaluation.SuiteOptions` (`k`, `draws`, `per_class`, ...).

    Returns:
        `{"knn/top1": 0.8, "linear/top1": ...}`; of several measurements with one name the last.

    Raises:
        ValueError: for an evaluation or a setting that there is not, with near ones, or if `data` are needed.

    Example:
        ```python
        kl.evaluate("runs/mine", suite=["knn", "retrieval"])
        kl.evaluate(backbone, {"train": train, "test": test}, "linear")
        ```
    """
    import keras

    from keras_leoclr import model_card
    from keras_leoclr.evaluation.run_evaluation import RunEvaluation
    from keras_leoclr.evaluation.suite_options import ALL, EVALUATORS, SuiteOptions

    asked = [suite] if isinstance(suite, str) else list(suite)
    for what in asked:
        _known("suite", what, (*EVALUATORS, "all"))
    chosen = [what for one in asked for what in (ALL if one == "all" else (one,))]
    own = {field.name for field in dataclasses.fields(RunEvaluation)} - {"workdir", "backbone", "images"}
    of_suite = {field.name for field in dataclasses.fields(SuiteOptions)}
    for name in settings:
        _known("evaluate", name, own | of_suite, "a setting of `evaluate`")
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    is_model = isinstance(run_or_backbone, keras.Model)
    path = None if is_model else pathlib.Path(os.fspath(run_or_backbone))
    of_run = path is not None and path.is_dir()
    if of_run and not RunFolder(path).holds_run:
        Run(path)  # says what is missing
    dataset, images = (None, None) if data is None else named(data)
    if dataset is not None and images is None:
        options["dataset"] = dataset
    with contextlib.ExitStack() as stack:
        if workdir is None and not of_run:
            cache, workdir = False, stack.enter_context(tempfile.TemporaryDirectory())
        backbone = None if of_run and workdir is None else run_or_backbone
        if of_run and workdir is not None:
            backbone = RunFolder(path).backbone_file
        folder = RunFolder(path if workdir is None else workdir)
        judged = RunEvaluation(
            folder.path, backbone, images=images, **{n: v for n, v in options.items() if n in own}
        ).suite(
            SuiteOptions(**{name: value for name, value in options.items() if name in of_suite}),
            images=set(chosen) != {"transfer"},
            cache=cache,
            verbose=verbose,
        )
        values: dict[str, float] = {}
        for what in chosen:
            values |= judged.run([what])
            if of_run and data is None and not own & options.keys():
                folder.note_repeated(what)
            if folder.card_file.is_file():
                model_card.write(folder.path)
    return values


def _recipe_module(recipe: str | Recipe) -> Any:
    """The module of a recipe, or what stands for one."""
    if isinstance(recipe, Recipe):
        return types.SimpleNamespace(RECIPE=recipe)
    from keras_leoclr.commands.recipes import PACKAGE, recipe_names

    _known("recipe", recipe, recipe_names(), "the name of a recipe")
    return importlib.import_module(f"{PACKAGE}.{recipe}")


def _known(argument: str, name: Any, names: Iterable[str], what: str = "") -> None:
    names = sorted(names)
    if name in names:
        return
    near = difflib.get_close_matches(str(name), names, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    if what.startswith("a "):
        raise ValueError(f"`{name}` is not {what}.{hint} Known: {', '.join(names)}")
    raise ValueError(f"`{argument}` must be {what or 'one'} of {', '.join(names)}.{hint} Received: {name!r}")


def _fields(fields: dict[str, Any], kind: type, call: str) -> dict[str, Any]:
    """Settings as a recipe holds them: tuples for lists, text for paths."""
    hints = typing.get_type_hints(kind)
    made = {}
    for name, value in fields.items():
        _known(call, name, hints, f"a field of `Recipe`, nor an argument of `{call}`")
        if typing.get_origin(hints[name]) is tuple and not isinstance(value, tuple):
            value = tuple(value)
        made[name] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return made
