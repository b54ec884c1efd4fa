"""Imagenette, ten easy classes of ImageNet-1K, with a ResNet-18 at 128 pixels.

    leoclr pretrain imagenette --workdir runs/imagenette
    leoclr pretrain imagenette --workdir runs/imagenette_800 --preset 800_epochs

Claim: none for this data set, which is the smallest set of real photographs here. It is a part of
ImageNet-1K, where the paper (arXiv 2403.06813) is 5.1 points ahead of MoCo v2.
Data: 9,469 training and 3,925 validation pictures whose shorter side is 160 pixels; TensorFlow Datasets
downloads them.
Cost: 0.57 V100 hours, or 16 hours on two CPU cores, estimated: 9,469 images x 200 epochs / 925 and 33
images/s (benchmarks/recipe_costs.py).
Expected: not measured at this size. With `--preset small`, 12 epochs of a small network at 64 pixels, LeOCLR
reaches 52.6 % by kNN and 59.2 % with a linear classifier, MoCo v2 47.5 % and 55.2 %, random weights 37.8 %
and 44.2 %, as means of five seeds; after 50 epochs LeOCLR reaches 60.4 % and 65.6 %, MoCo v2 58.0 % and
63.1 %, of three seeds (RESULTS.md has the commands). lightly's MoCo, with two crops that are
both used as queries, reaches by kNN on the validation pictures 78.6 % after 200 epochs and 87.4 % after
800 (lightly's benchmarks; the table of March 2022 has 72.7 % and 83.2 %).
"""

import dataclasses

from keras_leoclr.recipes import SMALL, main_of
from keras_leoclr.training.recipe import Recipe

# Size, network, queue, momentum, temperature, batch size and weight decay are those of lightly
# (docs/source/getting_started/benchmarks/imagenette_benchmark.py in lightly-ai/lightly).
RECIPE = Recipe(
    # === Data ===
    dataset="tfds:imagenette/160px-v2",
    test_split="validation",
    # === Views ===
    image_size=128,  # Mean and deviation are ImageNet's.
    # === Model ===
    backbone="resnet18",
    hidden_dim=2048,
    queue_size=4096,
    momentum=0.99,
    temperature=0.1,
    bn_groups=8,  # ShuffleBN on one device, as in MoCo's CIFAR-10 demo
    # === Training ===
    epochs=200,
    batch_size=256,
    learning_rate=0.06,
    weight_decay=5e-4,
    # === Evaluation ===
    knn_bank=0,  # 0 takes four fifths of the 9,469 pictures.
    knn_queries=0,
)
PRESETS = {
    "800_epochs": dataclasses.replace(RECIPE, epochs=800),
    # This preset is for two CPU cores; size and network are those of the study in RESULTS.md. Stem and rate
    # were chosen with both methods and seed 0 on a part of the training pictures (`leoclr ablate method
    # --recipe imagenette --preset small --seeds 0 --train_split 'train[:80%]' --test_split 'train[80%:]'`).
    # The linear classifier was 4.8 (LeOCLR) and 3.4 points (MoCo v2) worse with `--stem imagenet
    # --learning_rate 0.12`.
    "small": dataclasses.replace(RECIPE, **SMALL, image_size=64, epochs=12),
}

main_of(__name__, "pretrain", "imagenette")
