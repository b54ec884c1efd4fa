"""`leoclr views` shows the views of a recipe, before any training."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from types import ModuleType
from typing import Any

from keras_leoclr.commands.command import NOTHING, Command, check_output
from keras_leoclr.commands.flags import Flag, Given, UsageError, flags_of
from keras_leoclr.commands.pretrain import preset, requested
from keras_leoclr.commands.recipes import recipe_module

TEXT = """leoclr views RECIPE [--output FILE.png|FILE.html] [--images N] [--FIELD VALUE ...]

Draws the views of some pictures at the recipe's settings: the picture with the boxes of its crops, then what
the encoders see, that is, what will be pulled together. Any setting of the recipe is a flag, as in
`leoclr pretrain`. With `--compare 1000` it also says how much more the original and a crop of a
picture have in common than two crops, which hints at the method to take."""
SUFFIXES = (".png", ".html")


def write(recipe: Any, output: pathlib.Path, images: int) -> None:
    """Draws the views of some images of a recipe's training split.

    Args:
        recipe: a `Recipe` with a data set.
        output: a .png or .html file.
        images: >= 1.
    """
    from keras_leoclr.data.parts import some_of
    from keras_leoclr.report.views_page import write_views_page
    from keras_leoclr.training.build import make_views
    from keras_leoclr.training.measuring import measured
    from keras_leoclr.training.placing import place_of_views
    from keras_leoclr.training.sources import open_split
    from keras_leoclr.views import sheet as view_sheet
    from keras_leoclr.views.preview import draw_views

    place, _ = place_of_views(recipe)
    recipe = dataclasses.replace(recipe, compile_views=False, views_on=place)
    canvas = (recipe.canvas or None) if place == "device" else None
    recipe, _ = measured(recipe)
    views = make_views(recipe)
    source = some_of(open_split(recipe, recipe.train_split), images)
    drawn = draw_views(views, source, images, recipe.seed, place, canvas)
    if output.suffix.lower() == ".png":
        view_sheet.write_sheet(drawn, output)
        return
    strips = [view_sheet.png(view_sheet.strip(one)) for one in drawn]
    settings = {name: getattr(recipe, name) for name in view_sheet.SETTINGS}
    title = f"Views of {recipe.method} on {recipe.dataset}"
    write_views_page(output, title, settings, strips, view_sheet.headings(drawn[0]))


def _run(module: ModuleType, given: Given) -> int:
    from keras_leoclr.training.settling import completed

    output = pathlib.Path(given["output"]).expanduser()
    check_output(given, "output", SUFFIXES)
    recipe, settle = requested(module, given)
    if not recipe.dataset:
        raise UsageError("`--dataset` must name a data set, a folder or a file. Received: none")
    recipe = completed(recipe, settle, verbose=False)
    write(recipe, output, given["images"])
    print(output)
    if given["compare"]:
        from keras_leoclr.training.crop_agreement import crop_agreement, told
        from keras_leoclr.training.sources import open_split

        source = open_split(recipe, recipe.train_split)
        print(told(crop_agreement(source, recipe.crop_scale, given["compare"])))
    return 0


def _chosen(arguments: list[str]) -> tuple[Command, list[str]]:
    if not arguments:
        return COMMAND.but(run=_shown), []
    if arguments[0] in ("-h", "--help"):
        return COMMAND.but(), arguments
    module = recipe_module(arguments[0])
    declared = (
        Flag("workdir", str, None, "folder of a run, whose chosen settings are taken", "run"),
        preset(module),
        *flags_of(module.RECIPE),
        Flag("output", str, "views.png", "file that is written: .png, or .html for a page", "views"),
        Flag("images", int, 12, "number of pictures of the training split that are shown", "views", low=1),
        Flag("compare", int, 0, "pictures of which is said how much crops lose; 0 for none", "views", low=0),
    )
    return COMMAND.but(run=functools.partial(_run, module), flags=declared), arguments[1:]


def _shown(_: Given) -> int:
    print(TEXT)
    return 2


COMMAND = Command(
    name="views",
    arguments="RECIPE",
    summary="original and crops, before any training",
    text=TEXT,
    takes="flags after the recipe",
    count=NOTHING,
    chosen=_chosen,
)
