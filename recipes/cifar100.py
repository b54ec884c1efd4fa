"""CIFAR-100 with a ResNet-18 at 32 pixels, in the settings of the recipe for CIFAR-10.

    leoclr pretrain cifar100 --workdir runs/cifar100

Claim: LeOCLR gains over MoCo v2 on several data sets (arXiv 2403.06813); we know of no published result on
CIFAR-100.
Data: 50,000 training and 10,000 test pictures, 32 x 32, 100 classes; TensorFlow Datasets downloads them.
Cost: 2.8 V100 hours, or 79 hours on two CPU cores, estimated: 50,000 images x 200 epochs / 986 and 35
images/s (benchmarks/recipe_costs.py).
Expected: not measured here, and we know of no published result with these settings.
"""

import dataclasses

from keras_leoclr.recipes import cifar10, main_of

RECIPE = dataclasses.replace(
    cifar10.RECIPE,
    # === Data ===
    dataset="tfds:cifar100",
    # === Views ===
    mean=(0.5071, 0.4865, 0.4409),  # mean and deviation of the training pictures
    std=(0.2673, 0.2564, 0.2762),
)

main_of(__name__, "pretrain", "cifar100")
