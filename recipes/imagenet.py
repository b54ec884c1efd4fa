"""ImageNet-1K with a ResNet-50 at 224 pixels for 800 epochs: the paper's main experiment.

    leoclr pretrain imagenet --workdir runs/imagenet
    leoclr pretrain imagenet --workdir runs/imagenet_200 --preset 200_epochs
    leoclr pretrain imagenet --workdir runs/imagenet_moco --preset 100_epochs --method moco_v2

Claim: LeOCLR is 5.1 points ahead of MoCo v2 in linear evaluation (arXiv 2403.06813).
Data: 1,281,167 training and 50,000 validation pictures, which must be requested at image-net.org.
TensorFlow Datasets makes its files from ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in the folder
`downloads/manual` of `--data_dir` (~/tensorflow_datasets by default). A folder with `train/CLASS/...` and
`val/CLASS/...` can be used instead: `--dataset DIR --test_split val`.
Cost: 2,125 V100 hours, estimated: 1,281,167 images x 800 epochs / 134 images/s (docs/scaling.md, which also
lists the cores and the network that it needs); 531 for 200 epochs, 266 for 100 (benchmarks/recipe_costs.py).
The probes hold the features of all training pictures at once, 9.8 GiB per copy; with `--noevaluate` they can
be run later.
Expected: not measured here. Linear accuracy in percent, ResNet-50:

    epochs   MoCo v2                             LeOCLR
    100      61.5 (lightly)                      -
    200      67.5 +- 0.1 (MoCo's README)         -
    800      71.1 (MoCo's README)                76.2 (arXiv 2403.06813, as 5.1 more)

The protocol of these numbers is `leoclr evaluate linear_paper --workdir runs/imagenet`.
"""

import dataclasses

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

# The defaults are those of MoCo v2 (arXiv 2003.04297) with the views and the loss of LeOCLR's paper.
RECIPE = Recipe(
    # === Data ===
    dataset="tfds:imagenet2012",
    test_split="validation",
    shuffle_buffer=16_384,  # about 1.8 GB of encoded pictures; all 138 GB are stored in random order
    # === Model ===
    backbone="resnet50",
    queue_size=65536,
    momentum=0.999,
    bn_groups=1,  # On 8 GPUs each has 32 images, as in MoCo; on a single GPU use 8.
    # === Training ===
    epochs=800,
    batch_size=256,
    learning_rate=0.03,
    # === Evaluation ===
    few_label_draws=1,  # Each draw takes long with 1,000 classes.
)
PRESETS = {
    "200_epochs": dataclasses.replace(RECIPE, epochs=200),
    "100_epochs": dataclasses.replace(RECIPE, epochs=100),
}

main_of(__name__, "pretrain", "imagenet")
