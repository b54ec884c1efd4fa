"""Pictures with boxes or masks of TensorFlow Datasets."""

from __future__ import annotations

from keras_leoclr.data.readers.annotated import AnnotatedImages, content_of
from keras_leoclr.data.readers.tfds import prepared
from keras_leoclr.tensorflow_host import tf, untuned

SHUFFLED = 1000  # number of resized pictures of TensorFlow Datasets that are shuffled together
LOOKED_AT = 1000  # a split whose first so many pictures have no object, such as COCO's test, is one without


def annotated_of_tfds(
    dataset: str, split: str, kind: str, asked: tuple[str, ...], data_dir: str | None
) -> AnnotatedImages:
    """One split of a data set of TensorFlow Datasets.

    Args:
        dataset: the data set, as "tfds:NAME".
        split: split of the data set, or a slice.
        kind: "boxes" or "masks".
        asked: names of the classes, which must be those of the data set; () for any.
        data_dir: folder where TensorFlow Datasets keeps its files.

    Raises:
        ValueError, OSError: see `load_annotated`.
    """
    import tensorflow_datasets as tfds

    name = dataset.removeprefix("tfds:")
    builder = prepared(name, data_dir)
    features = builder.info.features
    needed = "objects" if kind == "boxes" else "segmentation_mask"
    if needed not in features or "image" not in features:
        advice = "" if kind == "boxes" else "; VOC's masks are in its own archive, as a folder"
        raise ValueError(
            f"`dataset` must have the features image and {needed} to have {kind}{advice}. "
            f"Received: tfds:{name} with {', '.join(features)}"
        )
    if kind == "boxes":
        of_objects = list(features["objects"].feature)
        if missing := [each for each in ("bbox", "label") if each not in of_objects]:
            raise ValueError(
                "`dataset` must have objects with bbox and label. "
                f"Received: tfds:{name} without {missing[0]}, with {', '.join(of_objects)}"
            )
        class_names = tuple(features["objects"]["label"].names)
    else:
        class_names = _mask_classes(name)
    if asked not in ((), class_names):
        raise ValueError(
            f"`class_names` must be those of tfds:{name}, in their order, and may be left out: "
            f"{', '.join(class_names)}. Received: class_names={','.join(asked)}"
        )
    config = tfds.ReadConfig(try_autocache=False)

    def elements(seed, first=0):
        found = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        found = untuned(found.map(_boxes if kind == "boxes" else _mask))
        if seed is None:
            return found
        return found.shuffle(SHUFFLED, seed=seed, reshuffle_each_iteration=True).repeat().skip(first)

    try:
        count = int(elements(None).cardinality())
    except ValueError as error:
        raise ValueError(
            f"`split` must be one of {', '.join(builder.info.splits)} of tfds:{name}, or a slice. "
            f"Received: split={split!r}"
        ) from error
    if not count:
        raise ValueError(f"`split` must leave an image of tfds:{name}. Received: split={split!r}")
    present = _first_class(elements(None)) if kind == "boxes" else None
    content = content_of(builder.info.full_name, split, count, class_names)
    return AnnotatedImages(class_names, count, content, elements, present)


def _first_class(elements: tf.data.Dataset) -> tuple[int, ...]:
    """The class of the first object that is not difficult; () if the first pictures have none."""
    for element in elements.take(LOOKED_AT).as_numpy_iterator():
        for number, difficult in zip(element["classes"], element["difficult"], strict=False):
            if not difficult:
                return (int(number),)
    return ()


def _boxes(element: dict) -> dict:
    objects = element["objects"]
    # Of a crowd, COCO has one box around many things. Its own evaluation does not judge it either.
    marks = (objects[name] for name in ("is_difficult", "is_crowd") if name in objects)
    difficult = next(marks, tf.zeros_like(objects["label"], tf.bool))
    return {
        "image": element["image"],
        "boxes": objects["bbox"],
        "classes": objects["label"],
        "difficult": difficult,
    }


def _mask_classes(name: str) -> tuple[str, ...]:
    if name.split("/")[0].split(":")[0] != "oxford_iiit_pet":
        raise ValueError(
            "`dataset` must be a folder or tfds:oxford_iiit_pet to have masks whose classes are known. "
            f"Received: tfds:{name}"
        )
    return ("pet", "background", "border")


def _mask(element: dict) -> dict:
    # Masks of this data set are numbered from 1.
    return {"image": element["image"], "mask": element["segmentation_mask"][..., 0] - 1}
