"""ImageNet-100, a tenth of ImageNet-1K's classes, with a ResNet-18 at 224 pixels, from a folder.

    leoclr data imagenet-100
    leoclr pretrain imagenet_100 --dataset imagenet-100 --workdir runs/imagenet_100

Claim: none for this data set. It is a tenth of ImageNet-1K at the same picture size, and on ImageNet-1K the
paper (arXiv 2403.06813) is 5.1 points ahead of MoCo v2.
Data: 126,689 training and 5,000 validation pictures of the 100 classes that arXiv 1906.05849 drew. The
folder must have `train/CLASS/...` and `val/CLASS/...`, with copies of or links to the folders of these
classes in ImageNet-1K.
Cost: 47 V100 hours, or 1,280 hours on two CPU cores, estimated: 126,689 images x 400 epochs / 302 and 11
images/s (benchmarks/recipe_costs.py).
Expected: not measured here, and we know of no published result with these settings.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

# Network, head, queue, momentum, batch size, learning rate and epochs are those of solo-learn
# (scripts/pretrain/imagenet-100/mocov2plus.yaml in vturrisi/solo-learn); views and the rest are MoCo v2's.
RECIPE = Recipe(
    # === Data ===
    test_split="val",
    # === Model ===
    backbone="resnet18",
    hidden_dim=2048,
    momentum=0.99,
    momentum_schedule="cosine",  # It ends at 1 here and at 0.999 in solo-learn.
    bn_groups=8,  # ShuffleBN on one device, as in MoCo's CIFAR-10 demo; solo-learn normalises whole batches
    # === Training ===
    epochs=400,
    batch_size=128,
    learning_rate=0.3,
    warmup_epochs=10.0,
)

main_of(__name__, "pretrain", "imagenet_100")
