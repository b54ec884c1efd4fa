"""`leoclr pretrain`, `leoclr evaluate` and `leoclr tune` as Python functions; long for their docstrings."""

from __future__ import annotations

import contextlib
import difflib
import os
import pathlib
import tempfile
import types
import typing
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from keras_leoclr import wording
from keras_leoclr.checks import setting_of
from keras_leoclr.data.given import GivenImages, named
from keras_leoclr.run_handle import Run
from keras_leoclr.runs.folder import RunFolder, work_folder
from keras_leoclr.training.recipe import Recipe

if typing.TYPE_CHECKING:
    import keras

    from keras_leoclr.training.tuned import Tuned

RUN_OPTIONS = {  # arguments that `training.pretraining.pretrain` has too, with their types
    "overwrite": bool,
    "override": bool,
    "verbose": bool | int,
    "checkpoint_minutes": float,
    "checkpoint_budget": float,
    "keep": int,
    "deterministic": bool,
    "tensorboard": str,
}


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
    """Pretrains a backbone on pictures, or resumes an earlier call that was interrupted.

    This does the same as `leoclr pretrain image_folder`. Method, image size, backbone, batch size, epochs,
    queue and momentum are chosen to suit the pictures and the computer, and each choice is printed with its
    reason. Settings that you give in `fields` are not changed. A resumed run keeps the settings with which it
    was started. If the run in `workdir` is finished, it is returned at once.

    Args:
        data: the pictures to train on. They can be anything that `kl.data.load` takes (a folder, the name of
            a data set, a file, a dictionary of arrays); a `Source` or a `tf.data.Dataset` of images; or a
            dictionary of these with the splits as keys, such as `{"train": source, "test": other}`. If a
            dictionary has a split "test" with labels, the backbone is evaluated on it; so it is on the split
            that `test_split` names, such as `train_split="train[:90%]", test_split="train[90%:]"` of a folder
            with one sub-folder per class. None for the data set of the recipe.
        workdir: path of the folder for checkpoints and results of the run.
        recipe: name of a recipe (`leoclr recipes` lists them), or a `Recipe`; "image_folder" by default.
        preset: name of a preset of the recipe: "full", the default; "smoke" for a small run of the same kind
            that takes less than a minute; or another one that the recipe has.
        callbacks: Keras callbacks of your own, such as those of Weights & Biases or MLflow. They see the
            model, and the measurements of the run in the logs. If one of them raises an error, the run ends
            after the current step with a checkpoint and a `CallbackError` that names the callback.
        overwrite: whether to delete a run that is already in `workdir`; False by default.
        override: whether to resume a run in `workdir` although the settings are different now, as far as that
            is safe; False by default.
        verbose: 0 for no output, 1 (the default) for a line that changes, on a terminal, 2 for one line per
            epoch.
        checkpoint_minutes: >= 0, minutes between two checkpoints within an epoch; 10 by default.
        checkpoint_budget: in (0, 1], largest share of the time that checkpoints may take; 0.02 by default.
        keep: >= 1, how many of the newest checkpoints are kept, besides the best one by kNN; 3 by default.
        deterministic: whether to ask the backend for operations that give the same bits every time, which
            can be slower; False by default.
        tensorboard: whether to write logs for TensorBoard: "on", "off", or "auto", the default, to write them
            if the package tensorboard is installed.
        **fields: settings of `Recipe` by name, such as `epochs=100` or `method="leoclr"`.

    Returns:
        The run, with `run.results`, `run.backbone()`, `run.report` and `run.path`.

    Raises:
        ValueError: if a setting does not exist (the message suggests similar names), if its value is not
            allowed, or if the pictures cannot be used.
        ChangedRecipeError: if `workdir` holds a run with other settings.
        CallbackError: if one of the callbacks has raised an error.

    Example:
        ```python
        splits = {"train_split": "train[:90%]", "test_split": "train[90%:]"}
        run = kl.pretrain("pictures", "runs/mine", epochs=50, **splits)
        print(run.results, run.report)
        features = run.backbone().predict(images)
        ```
    """
    from keras_leoclr.training import settling
    from keras_leoclr.training.pretraining import pretrain as train

    given_here = locals()
    workdir = work_folder(workdir)
    options = {name: setting_of(name, given_here[name], kind) for name, kind in RUN_OPTIONS.items()}
    if not 0 < options["checkpoint_budget"] <= 1:
        raise ValueError(
            f"`checkpoint_budget` must lie in (0, 1]. Received: checkpoint_budget={checkpoint_budget}"
        )
    module = _recipe_module(recipe)
    given = _fields(fields, Recipe, "pretrain")
    images = None
    if data is not None:
        given["dataset"], images = named(data)
        if images is not None:
            images.check_value_range(given.get("value_range"))
        test = given.get("test_split", "test")
        named_here = "test_split" in given or "test" in (images.splits if images is not None else ())
        if images is not None and named_here and images.has_labels(test):
            given.setdefault("evaluate", True)
    made, settle = settling.requested(module, preset, given, workdir, overwrite, override, images)
    with wording.pictures_called("data"):
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
    """Evaluates a backbone on pictures with labels, as `leoclr evaluate` does.

    Args:
        run_or_backbone: a `Run` or the path of its folder; the path of a `.keras` file or of torch weights;
            or a Keras model (B, H, W, C) -> (B, features). Of a `LeOCLR`, the backbone is evaluated.
        data: pictures with labels, as `pretrain` takes them, with a split on which classifiers are trained
            and a split on which they are tested. The splits are those of the recipe of the run, or "train"
            and "test" for a backbone, unless the settings `train_split` and `test_split` name others. If
            arrays have no splits, a tenth of them, drawn at random, is "test", and a warning says so. None,
            the default, for the data of the run.
        suite: one or several names of `evaluation.EVALUATORS`, or "all"; kNN, linear probe and linear probe
            with few labels by default.
        workdir: path of the folder for `results.jsonl` and other files of the results. By default the folder
            of the run; for a backbone no files are written.
        cache: whether to keep features in the folder, so that they are computed only once; True by default.
        verbose: whether to print scores and show the progress; True by default.
        **settings: settings of `evaluation.RunEvaluation` (`image_size`, `mean`, `value_range`,
            `max_images`, `subject`, ...) and of `evaluation.SuiteOptions` (`k`, `draws`, `per_class`, ...).

    Returns:
        `{"knn/top1": 0.8, "linear/top1": ...}`; of several measurements with the same name, the last one,
        and of kNN that with k = 20.

    Raises:
        ValueError: if an evaluation or a setting does not exist (the message suggests similar names), or if
            `data` are missing.

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
    kinds = typing.get_type_hints(RunEvaluation)
    own = kinds.keys() - {"workdir", "backbone", "run", "images"}
    of_suite = typing.get_type_hints(SuiteOptions)
    kinds |= of_suite
    for name in settings:
        _known("evaluate", name, own | of_suite.keys(), "a setting of `evaluate`")
    options = {name: setting_of(name, value, kinds[name]) for name, value in settings.items()}
    if isinstance(data, str) and data in (*EVALUATORS, "all") and not os.path.exists(data):
        raise ValueError(
            f"`data` must be pictures; names of evaluations go to `suite`. Received: data={data!r}"
        )
    is_model = isinstance(run_or_backbone, keras.Model)
    if not is_model and not isinstance(run_or_backbone, (str, os.PathLike)):
        raise ValueError(
            "`run_or_backbone` must be a `Run`, the path of its folder or of a file, or a Keras model. "
            f"Received: {run_or_backbone!r}"
        )
    path = None if is_model else pathlib.Path(run_or_backbone).expanduser()
    of_run = path is not None and path.is_dir()
    if of_run and not RunFolder(path).holds_run:
        Run(path)  # raises an error that says what is missing
    dataset, images = (None, None) if data is None else named(data)
    if images is not None:
        images.check_value_range(options.get("value_range"))
        if not {"train_split", "test_split"} & options.keys():
            of_recipe = RunFolder(path).recipe() if of_run else {}
            images = _with_test_split(images, of_recipe.get("test_split", "test"))
    elif dataset is not None:
        options["dataset"] = dataset
    with contextlib.ExitStack() as stack:
        stack.enter_context(wording.pictures_called("data"))
        if workdir is None and not of_run:
            cache, workdir = False, stack.enter_context(tempfile.TemporaryDirectory())
        folder = RunFolder(path if workdir is None else work_folder(workdir))
        judged = RunEvaluation(
            folder.path,
            backbone=None if of_run else run_or_backbone,
            run=path if of_run else None,
            images=images,
            **{name: value for name, value in options.items() if name in own},
        ).suite(
            SuiteOptions(**{name: value for name, value in options.items() if name in of_suite}),
            images=set(chosen) != {"transfer"},
            cache=cache,
            verbose=verbose,
        )
        values: dict[str, float] = {}
        for what in chosen:
            values |= judged.run([what])
            if of_run and folder.path == path and data is None and not own & options.keys():
                folder.note_repeated(what)
            if folder.card_file.is_file():
                model_card.write(folder.path)
    return values


def tune(
    data: Any,
    workdir: str | os.PathLike,
    minutes: float,
    *,
    recipe: str | Recipe = "image_folder",
    preset: str = "full",
    judge: str = "auto",
    learning_rates: Sequence[float] = (),
    least_areas: Sequence[float] = (),
    jobs: int = 1,
    verbose: bool = True,
    **fields: Any,
) -> Tuned:
    """Chooses learning rate and crop scale by short runs on a part of the pictures, as `leoclr tune` does.

    Each run is a process of its own. The first one is measured, and as many others are planned as fit into
    the time. Nothing is trained or judged on test pictures. The same call goes on where an earlier
    one was stopped.

    Args:
        data: the pictures: a name, a path or a list of paths, as `kl.data.load` takes them, or a dictionary
            of arrays, of which the splits are written to `workdir` as pictures.npz. None for the data set of
            the recipe.
        workdir: path of the folder for the runs and their results.
        minutes: > 0, the time that this call may take.
        recipe: see `pretrain`.
        preset: see `pretrain`.
        judge: how a backbone is judged: "linear" or "knn", by the labels of held-out training pictures;
            "rankme" or "uniformity" (alignment + uniformity), which need no labels; or "auto", the default:
            linear where there are labels, otherwise uniformity.
        learning_rates: learning rates for 256 images; by default a third, once and three times that of the
            recipe.
        least_areas: least areas of a crop, as shares of the picture; by default that of the recipe, and
            those of 0.08, 0.2 and 0.5 that differ from it.
        jobs: number of runs at the same time, 1 by default.
        verbose: whether to print the plan and the progress; true by default.
        **fields: settings of `Recipe` by name, for all runs.

    Returns:
        The choice: `fields` for `kl.pretrain`, `why()`, `table()` and `candidates`.

    Raises:
        ValueError: if an argument is wrong, the time is too short for two runs, there are no labels to judge
            by, or `workdir` holds a search with other settings.
        TimeoutError: if fewer than two runs were complete when the time was over.

    Example:
        ```python
        chosen = kl.tune("pictures", "runs/tune", minutes=30)
        run = kl.pretrain("pictures", "runs/mine", **chosen.fields)
        ```
    """
    from keras_leoclr.training import settling, tuning, tuning_parts

    module = _recipe_module(recipe)
    given = _fields(fields, Recipe, "tune")
    minutes, jobs = setting_of("minutes", minutes, float), setting_of("jobs", jobs, int)
    tuning.check(minutes, judge)
    settling.requested(module, preset, given)  # It refuses a wrong setting before arrays are written.
    lists = {"learning_rates": learning_rates, "least_areas": least_areas}
    how = {name: setting_of(name, value, tuple[float, ...]) for name, value in lists.items()}
    with contextlib.ExitStack() as stack:
        stack.enter_context(wording.pictures_called("data"))
        if data is not None:
            folder = work_folder(workdir)
            given["dataset"], held = stack.enter_context(tuning_parts.in_a_file(data, folder))
            how["held"] = held
        made = settling.completed(*settling.requested(module, preset, given), verbose)
        return tuning.tune(made, workdir, minutes, judge=judge, jobs=jobs, verbose=verbose, **how)


def _with_test_split(images: GivenImages, split: str) -> GivenImages:
    """The images; of arrays without splits, a tenth is set aside as "test" if that is what judges."""
    divided = images.set_aside() if split == "test" else None
    if divided is None:
        return images
    warnings.warn(
        f"`data` has no test split: {len(divided.arrays['test_image']):,} pictures, which are drawn at "
        f"random, judge what the other {len(divided.arrays['train_image']):,} are fitted to. Arrays "
        "`test_image` and `test_label`, or `train_split` and `test_split`, choose others.",
        stacklevel=3,
    )
    return divided


def _recipe_module(recipe: str | Recipe) -> Any:
    """Returns the module of a recipe by its name; for a `Recipe`, an object that holds it like a module."""
    if isinstance(recipe, Recipe):
        return types.SimpleNamespace(RECIPE=recipe)
    from keras_leoclr.commands.recipes import module_of, recipe_names

    _known("recipe", recipe, recipe_names(), "the name of a recipe")
    return module_of(recipe)


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
    """Checks the names of settings, and converts their values as a recipe needs them."""
    hints = typing.get_type_hints(kind)
    for name in fields:
        _known(call, name, hints, f"a field of `Recipe`, nor an argument of `{call}`")
    return {name: setting_of(name, value, hints[name]) for name, value in fields.items()}
