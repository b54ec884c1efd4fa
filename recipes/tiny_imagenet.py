"""Tiny ImageNet, 200 classes at 64 pixels, with a ResNet-18, from a folder.

    leoclr data tiny-imagenet-200
    leoclr pretrain tiny_imagenet --dataset tiny-imagenet-200 --workdir runs/tiny_imagenet

Claim: none for this data set. It has ImageNet's variety at the cost of CIFAR; on ImageNet-1K the paper (arXiv
2403.06813) is 5.1 points ahead of MoCo v2.
Data: 100,000 training and 10,000 validation pictures, 64 x 64 (cs231n.stanford.edu/tiny-imagenet-200.zip).
The folder must have `train/CLASS/...` and `val/CLASS/...` with the same classes. The published `train` has
this form; its additional folder `images` below each class does not matter. In the published `val`, all
pictures lie in `images`. They must be moved to folders of their classes, which `val_annotations.txt` lists:

    cd tiny-imagenet-200/val && while read -r file class rest; do
        mkdir -p "$class" && mv "images/$file" "$class/"; done < val_annotations.txt && rmdir images

Cost: 5.6 V100 hours, or 159 hours on two CPU cores, estimated: 100,000 images x 200 epochs / 986 and 35
images/s (benchmarks/recipe_costs.py).
Expected: not measured here, and we know of no published result with these settings.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

RECIPE = Recipe(
    # === Data ===
    test_split="val",
    # === Views ===
    image_size=64,  # Mean and deviation are ImageNet's.
    # === Model ===
    backbone="resnet18",
    stem="patch",  # It gives maps of CIFAR's sizes, where ImageNet's stem would end at 2 x 2; chosen here.
    queue_size=16384,  # chosen here: 0.08 of an epoch's keys, as CIFAR-10's 4,096 are 0.04
    momentum=0.99,  # as on CIFAR-10
    bn_groups=8,  # ShuffleBN on one device, as in MoCo's CIFAR-10 demo
    # === Training ===
    epochs=200,
    batch_size=256,
    weight_decay=5e-4,  # as on CIFAR-10
)

main_of(__name__, "pretrain", "tiny_imagenet")
