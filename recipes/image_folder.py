"""Your own pictures: LeOCLR on a folder, any mixture of sizes and formats, no labels needed.

    leoclr data DIR                                        # what is in there, and what cannot be read
    leoclr views image_folder --dataset DIR --output views.png    # what the encoders will see
    leoclr pretrain image_folder --dataset DIR --workdir runs/mine

Sizes, epochs, batch size, queue and momentum are chosen by the number and size of the pictures, by whether
they have labels, and by whether there is a GPU. Every choice is printed with its reason and can be overridden
by a flag. A resumed run keeps the choices that it began with.

Claim: LeOCLR beats MoCo v2 (arXiv 2403.06813), measured here on photographs and on pictures with several
things (RESULTS.md). MoCo v2 (`--method moco_v2`) was the better choice where every picture shows one centred
thing that fills it, on a plain ground, such as pictures of products. The command `leoclr views` shows which
kind of pictures you have: if both crops show the same thing in almost every row, try MoCo v2.
Data: 16 pictures or more in DIR or in `DIR/train`, at any depth. One sub-folder per class gives labels,
with which kNN is measured after each epoch. If `DIR/test`, `DIR/val` or `DIR/validation` with the same
classes lies beside `DIR/train`, kNN and linear probes follow at the end. Without these folders,
`--train_split "train[:90%]" --test_split "train[90%:]"` keeps a tenth of the pictures for them.
Cost: depends on what is chosen. As an estimate, about 1,000,000 pictures are seen without a GPU, which takes
5 hours on two cores at 58 images/s (ResNet-18 at 96 pixels, benchmarks/NOTES.md), and about 20,000,000 with
one, which takes 41 V100 hours at 134 images/s (ResNet-50 at 224 pixels, docs/scaling.md).
Expected: depends on the pictures. The result should be better than a random backbone, which is evaluated
before training if there are labels. A few thousand pictures need many epochs: with 3,068 photographs of
clothes, a small network at 64 pixels reached 50.3 % with a linear classifier after 100 epochs, random weights
28.0 % and raw pixels 34.4 %. 30 epochs that began with a network of other photographs (`--initial_weights`)
reached 46.5 %. By kNN it did not get above raw pixels, 39.0 and 41.1 % (docs/clothing.md has the commands).
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.choosing import CHOSEN, choose
from keras_leoclr.training.recipe import Recipe

__all__ = ["CHOSEN", "RECIPE", "choose"]

# Optimizer, head, temperature and views are those of MoCo v2 and of LeOCLR's paper for ImageNet-1K.
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
