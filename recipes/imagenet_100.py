"""ImageNet-100, a tenth of ImageNet-1K's classes, with a ResNet-18 at 224 pixels, from a folder.

    leoclr data imagenet-100
    leoclr pretrain imagenet_100 --dataset imagenet-100 --workdir runs/imagenet_100

Claim: a tenth of ImageNet-1K at ImageNet-1K's size, where the paper (arXiv 2403.06813) is 5.1 points ahead
of MoCo v2.
Data: 126,689 training and 5,000 validation pictures of the 100 classes that arXiv 1906.05849 drew. The
folder must have `train/CLASS/...` and `val/CLASS/...`: copies of, or links to, these classes' folders of
ImageNet-1K.
Cost: 47 V100 hours, or 1,280 hours on two CPU cores, estimated: 126,689 images x 400 epochs / 302 and 11
images/s (benchmarks/recipe_costs.py).
Expected: not measured here, and no published number of these settings is known.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

# Network, head, queue, momentum, batch, rate and epochs are solo-learn's
# (scripts/pretrain/imagenet-100/mocov2plus.yaml in vturrisi/solo-learn); views and the rest MoCo v2's.
RECIPE = Recipe(
    # === Data ===
    test_split="val",
    # === Model ===
    backbone="resnet18",
    hidden_dim=2048,
    momentum=0.99,
    momentum_schedule="cosine",  # to 1 here, to 0.999 there
    bn_groups=8,  # ShuffleBN on one device, as in MoCo's CIFAR-10 demo; there, BatchNorm of the whole batch
    # === Training ===
    epochs=400,
    batch_size=128,
    learning_rate=0.3,
    warmup_epochs=10.0,
)

main_of(__name__, "pretrain", "imagenet_100")
