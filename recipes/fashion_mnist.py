"""LeOCLR, or MoCo v2, on the bundled Fashion-MNIST sample, sized for two CPU cores.

    leoclr pretrain fashion_mnist --workdir runs/fashion_mnist
    leoclr pretrain fashion_mnist --workdir runs/fashion_mnist_moco --method moco_v2

Claim: a backbone that was pretrained without labels is better than a random one. Nothing more is claimed,
because the paper (arXiv 2403.06813) has no such small grey pictures. MoCo v2 is ahead of LeOCLR here: one
garment fills each picture, on a black ground, so that any two crops show the same thing (RESULTS.md).
Data: 10,000 training and 2,000 test images, 28 x 28, grey (arXiv 1708.07747), which come with the package.
Cost: 3 to 7 minutes on two CPU cores, measured with the first command above.
Expected: kNN 77.9 %, linear 83.5 % of the test images, with MoCo v2 81.0 % and 85.6 %, random backbone 74.0 %
and 77.5 %, raw pixels 83.2 % and 85.5 %, measured with the two commands above.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

RECIPE = Recipe(
    dataset="fashion_mnist",
    # === Views ===
    image_size=28,
    crop_scale=(0.3, 1.0),
    # The jitter is strong and always applied; otherwise the brightness of a picture would tell which crop
    # belongs to it. The pictures are grey, so there is no saturation and no hue.
    color_jitter=(0.8, 0.8, 0.0, 0.0),
    jitter_probability=1.0,
    grayscale_probability=0.0,
    blur_sigma=(0.1, 1.0),
    mean=(0.286, 0.286, 0.286),  # mean and deviation of the training images
    std=(0.353, 0.353, 0.353),
    # === Model ===
    backbone="resnet_small",
    stem="patch",
    widths=(32, 64, 128),
    queue_size=4096,
    momentum=0.99,
    # === Training ===
    epochs=14,
    batch_size=128,
    learning_rate=0.24,
    warmup_epochs=1.0,
    knn_bank=2500,
    knn_queries=1000,
)

main_of(__name__, "pretrain", "fashion_mnist")
