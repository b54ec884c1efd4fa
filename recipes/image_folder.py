"""Your own pictures: LeOCLR on a folder, any mixture of sizes and formats, no labels needed.

    leoclr data DIR                                        # what is in there, and what cannot be read
    leoclr views image_folder --dataset DIR --output views.png    # what the encoders will see
    leoclr pretrain image_folder --dataset DIR --workdir runs/mine

Sizes, epochs, batch, queue and momentum are chosen by what is found: how many pictures, how large, with
labels or not, a GPU or not. Every choice is printed with its reason, a flag overrides it, and a run that goes
on keeps those that it began with.

Claim: the paper's (arXiv 2403.06813), that LeOCLR beats MoCo v2, measured here on photographs and on
pictures that hold several things (RESULTS.md). MoCo v2 (`--method moco_v2`) was the better choice where every
picture shows one centred thing that fills it, on a plain ground, such as pictures of products. The command
`leoclr views` tells which it is: where both crops show the same thing in almost every row, MoCo v2 may do.
Data: 16 pictures or more in DIR or in `DIR/train`, at any depth. One sub-folder per class gives labels,
with which kNN is measured after each epoch; with `DIR/test`, `DIR/val` or `DIR/validation` of the same
classes beside `DIR/train`, kNN and linear probes follow at the end.
Cost: as chosen, an estimate: about 1,000,000 pictures are seen without a GPU, which takes 5 hours on two
cores at 58 images/s (ResNet-18 at 96 pixels, benchmarks/NOTES.md), and about 20,000,000 with one, 41 V100
hours at 134 images/s (ResNet-50 at 224 pixels, docs/scaling.md).
Expected: nobody knows; better than a random backbone, which is judged before the training where there are
labels.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.choosing import CHOSEN, choose
from keras_leoclr.training.recipe import Recipe

__all__ = ["CHOSEN", "RECIPE", "choose"]

# Optimizer, head, temperature and views are MoCo v2's and the paper's for ImageNet-1K.
RECIPE = Recipe(
    # === Chosen by the pictures, see `choose` ===
    image_size=96,
    backbone="resnet18",
    batch_size=128,
    queue_size=16384,
    momentum=0.99,
    knn_bank=0,
    knn_queries=0,
    evaluate=False,
)

main_of(__name__, "pretrain", "image_folder")
