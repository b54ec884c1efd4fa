"""What the recipes cost, estimated: the table behind the lines "Cost" in `recipes/`.

    python benchmarks/recipe_costs.py

Hours are images x epochs / images per second. Speeds are known of two networks alone and are scaled by the
multiply-adds of an image's convolutions, as if all networks used a device equally well: 134 images/s of
ResNet-50 at 224 pixels on a V100 (docs/scaling.md, itself derived from MoCo's README), 58 images/s of
ResNet-18 at 96 pixels on two CPU cores (benchmarks/NOTES.md). Views, kNN and the evaluation are not in it.
"""

import argparse
import importlib
import math

import keras

from keras_leoclr.training.build import make_backbone
from keras_leoclr.training.recipe import Recipe

# pictures that a recipe pretrains on, as their publishers count them
IMAGES = {
    "cifar10": 50_000,
    "cifar100": 50_000,
    "stl10": 100_000,
    "imagenette": 9_469,
    "tiny_imagenet": 100_000,
    "imagenet_100": 126_689,
    "imagenet": 1_281_167,
}
V100 = 134, Recipe(backbone="resnet50", image_size=224)
TWO_CORES = 58, Recipe(backbone="resnet18", image_size=96)


def multiply_adds(recipe: Recipe) -> float:
    """Of the convolutions of one forward pass of the backbone."""
    total = 0
    for layer in make_backbone(recipe)._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
    return total


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    known = [(speed, multiply_adds(recipe)) for speed, recipe in (V100, TWO_CORES)]
    print(f"{'recipe':14}{'images':>11}{'epochs':>8}{'G':>7}{'V100: images/s':>17}{'hours':>9}", end="")
    print(f"{'two cores: images/s':>22}{'hours':>9}")
    for name, images in IMAGES.items():
        module = importlib.import_module(f"keras_leoclr.recipes.{name}")
        for recipe in (module.RECIPE, *getattr(module, "PRESETS", {}).values()):
            own = multiply_adds(recipe)
            line = f"{name:14}{images:>11,}{recipe.epochs:>8}{own / 1e9:>7.2f}"
            for (speed, reference), widths in zip(known, ((17, 9), (22, 9)), strict=True):
                scaled = round(speed * reference / own)
                hours = images * recipe.epochs / scaled / 3600
                line += f"{scaled:>{widths[0]},}{hours:>{widths[1]},.2f}"
            print(line)


if __name__ == "__main__":
    main()
