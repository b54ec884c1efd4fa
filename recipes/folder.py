"""Your own pictures: LeOCLR on a folder, any mixture of sizes and formats, no labels needed.

    leoclr data DIR                                        # what is in there, and what cannot be read
    leoclr pretrain folder --dataset DIR --workdir runs/mine

The settings are those of MoCo v2 and the paper for ImageNet-1K, with a ResNet-18 at 96 pixels. With a GPU
take `--backbone resnet50 --image_size 224`, with fewer than about 50,000 pictures a shorter queue
(`--queue_size 4096 --momentum 0.99`), so that it does not hold keys of an epoch ago.
With one sub-folder per class the kNN accuracy of the backbone is measured after each epoch; with `train` and
`test` sub-folders `--evaluate` adds linear probes on the test pictures.
"""

import sys

from keras_leoclr.recipes.recipe import Recipe

RECIPE = Recipe(
    image_size=96,
    backbone="resnet18",
    batch_size=128,
    queue_size=16384,
    momentum=0.99,
    knn_bank=0,  # of as many pictures as there are
    knn_queries=0,
    evaluate=False,
)

if __name__ == "__main__":
    from keras_leoclr.cli import main

    sys.exit(main(["leoclr", "pretrain", "folder", *sys.argv[1:]]))
