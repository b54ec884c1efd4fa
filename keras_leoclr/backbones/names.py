"""Names of backbones and stems; in a module of its own, so that listing them does not import Keras."""

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
STEMS = ("imagenet", "cifar", "patch", "solo_learn", "lightly")  # stems of a ResNet, see `resnet18`

LAST = "channels_last"  # given to every layer, because a user's keras.json may set another format

# Networks of other libraries are named `LIBRARY:NAME`, see `named.py`.
LIBRARIES = ("applications", "keras_cv", "keras_hub")


def library_of(name: str) -> tuple[str, str]:
    """Splits the name of another library's network into library and name; ("", name) for other names."""
    library, colon, called = name.partition(":")
    return (library, called) if colon and library in LIBRARIES and called else ("", name)
