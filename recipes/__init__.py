"""One recipe per data set; `Recipe` and `pretrain` are used to write and run further recipes."""

import importlib
import sys

from keras_leoclr import lazy

__all__ = ["Recipe", "main_of", "pretrain"]
__getattr__, __dir__ = lazy.attach(
    __name__, {"Recipe": ".training.recipe", "pretrain": ".training.pretraining"}
)

# Network and training of the presets `small`, which are for two CPU cores; see recipes/imagenette.py.
SMALL = {
    "backbone": "resnet_small",
    "stem": "patch",
    "widths": (32, 64, 128),
    "hidden_dim": 0,
    "temperature": 0.2,
    "bn_groups": 1,
    "batch_size": 128,
    "learning_rate": 0.24,
    "weight_decay": 1e-4,
    "warmup_epochs": 1.0,
}


def main_of(name: str, *command: str) -> None:
    """Makes a recipe a script too, as its last line; does nothing if the recipe is imported.

    Args:
        name: `__name__` of the recipe.
        *command: arguments of `leoclr` that run it; the arguments of the script are appended.
    """
    if name == "__main__":
        cli = importlib.import_module("keras_leoclr.cli")  # It is imported here, as only scripts need it.
        sys.exit(cli.main(["leoclr", *command, *sys.argv[1:]]))
