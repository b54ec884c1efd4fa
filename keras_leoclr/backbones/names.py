"""Names of backbones and stems, for those who only list or check them: this module needs no Keras."""

BACKBONES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet_small",
    "vit_tiny",
    "vit_small",
    "vit_base",
)
STEMS = ("imagenet", "cifar", "patch", "solo_learn", "lightly")  # of a ResNet, see `resnet18`
