"""One recipe per data set; `Recipe` and `pretrain` are what one writes and runs a recipe with."""

import importlib
import sys

from keras_leoclr import lazy

__all__ = ["Recipe", "main_of", "pretrain"]
__getattr__, __dir__ = lazy.attach(
    __name__, {"Recipe": ".training.recipe", "pretrain": ".training.pretraining"}
)


def main_of(name: str, *command: str) -> None:
    """The last line of a recipe, which makes it a script too; does nothing where the recipe is imported.

    Args:
        name: `__name__` of the recipe.
        *command: what `leoclr` is told to run it; the arguments of the script follow.
    """
    if name == "__main__":
        cli = importlib.import_module("keras_leoclr.cli")  # a script starts at the top, as `leoclr` does
        sys.exit(cli.main(["leoclr", *command, *sys.argv[1:]]))
