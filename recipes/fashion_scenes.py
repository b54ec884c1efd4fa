"""LeOCLR on pictures with several things: the bundled scenes of garments, sized for two CPU cores.

    leoclr pretrain fashion_scenes --workdir runs/scenes
    leoclr pretrain fashion_scenes --workdir runs/scenes_moco --method moco_v2

Claim: the paper's (arXiv 2403.06813), that LeOCLR beats MoCo v2, on the kind of picture that it was made for:
two crops of a picture with several things often show different ones, and only the original holds them all.
RESULTS.md has both methods with several seeds, at equal epochs and at equal compute.
Data: 10,000 training and 2,000 test pictures, 32 x 32, grey, of 2 to 4 garments each, made of the bundled
part of Fashion-MNIST when they are loaded (`kl.data.fashion_scenes`); several labels per picture. Settings
were chosen on the last fifth of the training scenes, whose garments are in no other scene, with backbones
that were trained on the first four fifths (`--train_split train[:80%]`); no test scene was looked at.
Cost: about 3 minutes of processor time, so less than that on two idle CPU cores.
Expected: mean average precision of the test pictures, kNN 50.4 %, linear 55.8 %, with MoCo v2 45.8 % and
52.1 %, random backbone 38.7 % and 43.2 %, raw pixels 44.6 % and 39.7 %, measured with the commands above.
"""

from keras_leoclr.recipes import main_of
from keras_leoclr.training.recipe import Recipe

RECIPE = Recipe(
    dataset="fashion_scenes",
    # === Views ===
    image_size=32,
    crop_scale=(0.2, 1.0),
    # The jitter is strong and always applied, as in `fashion_mnist`. Grey pictures have no saturation or hue.
    color_jitter=(0.8, 0.8, 0.0, 0.0),
    jitter_probability=1.0,
    grayscale_probability=0.0,
    blur_sigma=(0.1, 1.0),
    mean=(0.12, 0.12, 0.12),  # mean and deviation of the training scenes
    std=(0.255, 0.255, 0.255),
    # === Model ===
    backbone="resnet_small",
    stem="patch",
    widths=(16, 32, 64),
    queue_size=4096,
    momentum=0.99,
    # === Training ===
    epochs=20,
    batch_size=128,
    learning_rate=0.12,
    warmup_epochs=1.0,
    knn_bank=2500,
    knn_queries=1000,
)

main_of(__name__, "pretrain", "fashion_scenes")
