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

LAST = "channels_last"  # layers made here say so, as `image_data_format` of keras.json may differ
