"""`leoclr views`: what a recipe's views look like, before any training."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib

from absl import flags

from keras_leoclr.commands.flags import UsageError, known, parse

USAGE = """leoclr views RECIPE [--output FILE.png|FILE.html] [--images N] [--FIELD VALUE ...]

Draws the views of some pictures at the recipe's settings: the picture with the boxes of its crops, then what
the encoders see, that is, what will be pulled together. Any field of the recipe is a flag, as in
`leoclr pretrain`."""
SUFFIXES = (".png", ".html")


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    from keras_leoclr import cli
    from keras_leoclr.training.settling import presets_of

    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    name = known("recipe", arguments[0], cli.recipe_names())
    module = importlib.import_module(f"keras_leoclr.recipes.{name}")
    values = cli._flags_of(module.RECIPE, presets_of(module))
    define(values)
    rest = parse(values, arguments[1:], USAGE)
    if rest is None:
        return 0
    output = pathlib.Path(values["output"].value)
    if rest:
        raise UsageError(f"`views` takes flags after the recipe. Received: {' '.join(rest)}")
    if output.suffix not in SUFFIXES:
        raise UsageError(f"`--output` must end in .png or .html. Received: {output}")
    recipe, settle = cli.settings(module, values)
    if not recipe.dataset:
        raise UsageError("`--dataset` must name a data set, a folder or a file. Received: none")
    if settle is not None:
        recipe, _ = settle(recipe)
    write(recipe, output, values["images"].value)
    print(output)
    return 0


def define(values: flags.FlagValues) -> None:
    """Adds the command's own flags to those of the recipe."""
    own = {"flag_values": values, "module_name": "views"}
    flags.DEFINE_string("output", "views.png", "the file: a PNG, or a page", **own)
    flags.DEFINE_integer("images", 12, "pictures drawn, the first of the training split", 1, **own)


def write(recipe, output: pathlib.Path, images: int) -> None:
    """Draws the views of the first images of a recipe's training split.

    Args:
        recipe: a `Recipe` with a data set.
        output: a .png or .html file.
        images: >= 1.
    """
    from keras_leoclr import data
    from keras_leoclr.report.views_page import write_views_page
    from keras_leoclr.views import sheet as view_sheet
    from keras_leoclr.views.preview import draw_views

    make_views = importlib.import_module("keras_leoclr.training.build").make_views
    views = make_views(dataclasses.replace(recipe, compile_views=False))
    source = data.load(recipe.dataset, recipe.train_split, recipe.data_dir, on_error=recipe.on_error)
    drawn = draw_views(views, source, images, recipe.seed)
    if output.suffix == ".png":
        view_sheet.write_sheet(drawn, output)
        return
    strips = [view_sheet.png(view_sheet.strip(one)) for one in drawn]
    settings = {name: getattr(recipe, name) for name in view_sheet.SETTINGS}
    title = f"Views of {recipe.method} on {recipe.dataset}"
    write_views_page(output, title, settings, strips, view_sheet.headings(drawn[0]))
