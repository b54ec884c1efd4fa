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

# Of networks of other libraries, `LIBRARY:NAME`, see `named.py`.
LIBRARIES = ("applications", "keras_cv", "keras_hub")


def library_of(name: str) -> tuple[str, str]:
    """Library and name of a network of another library; ("", name) for one of this package."""
    library, colon, called = name.partition(":")
    return (library, called) if colon and library in LIBRARIES and called else ("", name)
