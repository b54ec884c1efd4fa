"""STL-10 with a ResNet-18 at 96 pixels: pretrained on the unlabelled pictures, judged with the labelled ones.

    leoclr pretrain stl10 --workdir runs/stl10
    leoclr pretrain stl10 --workdir runs/stl10_moco --method moco_v2

Claim: LeOCLR gains over MoCo v2 on several data sets, STL-10 among them (arXiv 2403.06813).
Data: 100,000 pictures without labels (their label is -1, which means none), 5,000 training and 8,000 test
pictures of 10 classes, 96 x 96; TensorFlow Datasets downloads them. kNN during training, and the probes, use
the labelled training pictures.
Cost: 3.4 V100 hours, or 96 hours on two CPU cores, estimated: 100,000 images x 200 epochs / 1,644 and 58
images/s (benchmarks/recipe_costs.py).
Expected: not measured here, and we know of no published result with these settings.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

RECIPE = Recipe(
    # === Data ===
    dataset="tfds:stl10",
    train_split="unlabelled",
    probe_split="train",
    shuffle_buffer=20_000,  # 0.5 GiB of pixels; the pictures are stored in no particular order
    # === Views ===
    image_size=96,  # Mean and deviation are those of ImageNet, from which the pictures come.
    # === Model ===
    backbone="resnet18",
    queue_size=16384,  # chosen here: 0.08 of an epoch's keys, as CIFAR-10's 4,096 are 0.04
    momentum=0.99,  # as on CIFAR-10, another small data set
    bn_groups=8,  # ShuffleBN on one device, as in MoCo's CIFAR-10 demo
    # === Training ===
    epochs=200,
    batch_size=256,
    # === Evaluation ===
    knn_bank=0,  # 0 takes four fifths of the 5,000 pictures.
    knn_queries=0,
)

main_of(__name__, "pretrain", "stl10")
