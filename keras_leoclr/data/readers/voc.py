"""Pictures with boxes or masks: folders in the format of Pascal VOC, and TensorFlow Datasets."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from keras_leoclr import terminal
from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.readers.files import Index, read_index
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.readers.tfds import prepared
from keras_leoclr.data.readers.voc_annotations import AnnotationError, read_boxes, read_mask
from keras_leoclr.data.readers.voc_folders import BACKGROUND, KINDS, listed_classes, stems_of_split
from keras_leoclr.data.splits import split_rows
from keras_leoclr.tensorflow_host import tf

VOC_CLASSES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)
SHUFFLED = 1000  # number of resized pictures of TensorFlow Datasets that are shuffled together


@dataclasses.dataclass(frozen=True)
class AnnotatedImages:
    """One split of a data set of pictures with boxes or masks.

    Attributes:
        class_names: names of the classes in the order of their numbers; for masks, 0 is the background.
        count: number of pictures.
        elements: function `(seed, first)` that returns tf.data. With None as seed it has all pictures once,
            in their order; with a seed, it is endless, in random order, and skips `first` pictures. Each
            element is `{"image": (H, W, 3) uint8}` with `"boxes"` (N, 4) float32 as in `Boxes`, `"classes"`
            (N,) int64, and `"difficult"` (N,) bool, objects that are neither trained on nor judged, as VOC's
            difficult ones and COCO's crowds; or with `"mask"` (H, W) uint8, 255 for void.
    """

    class_names: tuple[str, ...]
    count: int
    elements: Callable[..., tf.data.Dataset]


def load_annotated(
    name_or_path: str,
    split: str,
    kind: str,
    class_names: Sequence[str] = (),
    data_dir: str | None = None,
) -> AnnotatedImages:
    """Loads pictures with boxes or masks.

    Args:
        name_or_path: one of
            - a folder in VOC's format: pictures in `JPEGImages`, with the name of a picture in `Annotations`
              an XML file with boxes, or in `SegmentationClass` a PNG whose palette numbers are classes;
              `ImageSets/Main` or `ImageSets/Segmentation` hold a text file of names for each split. Without
              those, all annotated pictures are "train", in the order of a hash of their names.
            - `"tfds:NAME"`: a data set of TensorFlow Datasets with `objects` of `bbox` and `label`, such as
              `tfds:voc/2007`, or with a `segmentation_mask`, such as `tfds:oxford_iiit_pet`.
        split: split of the data set, or a slice such as "train[:80%]".
        kind: "boxes" or "masks".
        class_names: names that may occur in a folder, in the order of their numbers. By default they are the
            lines of `classes.txt` in it. Without this file, they are the sorted names that occur in the split
            for boxes, and "background" followed by VOC's 20 classes for masks. TensorFlow Datasets has names
            of its own, and others are an error.
        data_dir: folder where TensorFlow Datasets keeps its files.

    Raises:
        AnnotationError: if an annotation is damaged, a box lies outside of its picture, a class is unknown,
            or a mask has another size than its picture. The message names the file.
        ValueError, FileNotFoundError: if an argument is wrong or a file is missing.
    """
    if kind not in KINDS:
        raise ValueError(f'`kind` must be "boxes" or "masks". Received: kind={kind!r}')
    if name_or_path.startswith("tfds:"):
        return _of_tfds(name_or_path.removeprefix("tfds:"), split, kind, tuple(class_names), data_dir)
    root = pathlib.Path(name_or_path).expanduser()
    folder, suffix, _ = KINDS[kind]
    for needed in (root / "JPEGImages", root / folder):
        if not needed.is_dir():
            raise FileNotFoundError(
                f"`dataset` must be tfds:NAME or a folder in VOC's format, with JPEGImages and {folder}. "
                f"Received: {shown(str(root))}, without {needed.name}"
            )
    images = _pictures(root, split, kind)
    paths = [root / folder / (pathlib.PurePath(path).stem + suffix) for path in images.paths]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"`dataset` must have every file that its splits name. Received: split={split!r}, which "
                "names "
                f"{shown(str(path))}"
            )
    listed = tuple(class_names) or listed_classes(root)
    if kind == "masks":
        return _with_masks(images, paths, listed or (BACKGROUND, *VOC_CLASSES))
    return _with_boxes(images, paths, tuple(name for name in listed if name != BACKGROUND))


# === Folders ===


def _pictures(root: pathlib.Path, split: str, kind: str) -> FolderImages:
    """The pictures of a split, in the order of the split."""
    pictures = os.fsencode(os.path.abspath(root / "JPEGImages"))
    found = read_index(pictures, decode.MAX_PIXELS)
    flat = [path for path in (*found.headers, *found.failures) if b"/" not in path]
    by_stem = {os.fsdecode(os.path.splitext(path)[0]): path for path in flat}
    stems = stems_of_split(root, split, kind, by_stem)
    stems = [stems[row] for row in split_rows(split, len(stems))]
    for stem in stems:
        path = by_stem.get(stem)
        name = shown(os.path.join(pictures, path or os.fsencode(stem)))
        if path is None:
            raise FileNotFoundError(
                f"`dataset` must have every picture that its splits name. Received: split={split!r}, which "
                "names "
                f"{name}"
            )
        if path in found.failures:
            raise ValueError(f"{name}: {found.failures[path]}")
    headers = {by_stem[stem]: found.headers[by_stem[stem]] for stem in stems}
    return FolderImages(pictures, Index(headers, {}, collections.Counter(), []), Failures(len(headers)))


def _with_boxes(images: FolderImages, paths: list[pathlib.Path], known: tuple[str, ...]) -> AnnotatedImages:
    found = [read_boxes(path) for path in terminal.progress(paths, len(paths), "Annotations", "files")]
    class_names = known or tuple(sorted({name for boxes in found for name in boxes.names}))
    if not class_names:
        raise ValueError(f"`dataset` must have objects. Received: {len(paths)} annotations without any")
    number = {name: place for place, name in enumerate(class_names)}
    classes, boxes = [], []
    for path, objects, (height, width) in zip(paths, found, images.sizes, strict=True):
        unknown = [name for name in objects.names if name not in number]
        if unknown:
            raise AnnotationError(
                f"{shown(str(path))}: class must be one of {', '.join(class_names)}. Received: {unknown[0]}"
            )
        if objects.size not in (None, (height, width)):
            raise AnnotationError(
                f"{shown(str(path))}: size must be that of the picture, {width} x {height}. "
                f"Received: {objects.size[1]} x {objects.size[0]}"
            )
        relative = objects.boxes / np.array([height, width, height, width], "float32")
        if relative.max(initial=0) > 1:
            raise AnnotationError(
                f"{shown(str(path))}: boxes must lie within the picture, {width} x {height}. "
                f"Received: a box that reaches {relative.max():g} times the size"
            )
        classes.append(np.array([number[name] for name in objects.names], "int64"))
        boxes.append(relative)
    difficult = [objects.difficult for objects in found]
    columns = {"boxes": boxes, "classes": classes, "difficult": difficult}
    ragged = {
        name: tf.RaggedTensor.from_row_lengths(np.concatenate(rows), [len(r) for r in rows])
        for name, rows in columns.items()
    }

    def annotation(index):
        return {name: rows[index] for name, rows in ragged.items()}

    return AnnotatedImages(class_names, images.count, _elements(images, annotation))


def _with_masks(
    images: FolderImages, paths: list[pathlib.Path], class_names: tuple[str, ...]
) -> AnnotatedImages:
    names = tf.constant([os.fsencode(path) for path in paths])
    sizes = tf.constant(images.sizes)

    def read(name, height, width):
        try:
            mask = read_mask(os.fsdecode(name), class_names)
            if mask.shape != (height, width):
                raise AnnotationError(
                    f"{shown(name)}: must be as large as its picture, {width} x {height}. "
                    f"Received: {mask.shape[1]} x {mask.shape[0]}"
                )
        except AnnotationError as error:
            return np.zeros((0, 0), np.uint8), str(error).encode()
        return mask, b""

    def annotation(index):
        mask, message = tf.numpy_function(
            read, [names[index], sizes[index, 0], sizes[index, 1]], [tf.uint8, tf.string]
        )
        decode.raise_if(message)
        return {"mask": tf.ensure_shape(mask, [None, None])}

    return AnnotatedImages(class_names, images.count, _elements(images, annotation))


def _elements(images: FolderImages, annotation: Callable[[tf.Tensor], dict]) -> Callable:
    def elements(seed: int | None, first: int = 0) -> tf.data.Dataset:
        if seed is None:
            numbers = tf.data.Dataset.range(images.count)
        else:

            def order(epoch):
                return tf.random.experimental.stateless_shuffle(
                    tf.range(images.count, dtype=tf.int64), tf.stack([tf.cast(seed, tf.int64), epoch])
                )

            numbers = tf.data.Dataset.range(2**40).map(order).unbatch().skip(first)
        pictures = images.fetch(numbers)
        both = tf.data.Dataset.zip((numbers, pictures))
        return both.map(lambda index, element: {"image": element["image"]} | annotation(index))

    return elements


# === TensorFlow Datasets ===


def _of_tfds(
    name: str, split: str, kind: str, asked: tuple[str, ...], data_dir: str | None
) -> AnnotatedImages:
    import tensorflow_datasets as tfds

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
        class_names = tuple(features["objects"]["label"].names)
    else:
        class_names = _tfds_mask_classes(name)
    if asked not in ((), class_names):
        raise ValueError(
            f"`class_names` must be those of tfds:{name}, in their order, and may be left out: "
            f"{', '.join(class_names)}. Received: class_names={','.join(asked)}"
        )
    config = tfds.ReadConfig(try_autocache=False)

    def elements(seed, first=0):
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        dataset = dataset.map(_tfds_boxes if kind == "boxes" else _tfds_mask)
        if seed is None:
            return dataset
        return dataset.shuffle(SHUFFLED, seed=seed, reshuffle_each_iteration=True).repeat().skip(first)

    try:
        count = int(elements(None).cardinality())
    except ValueError as error:
        raise ValueError(
            f"`split` must be one of {', '.join(builder.info.splits)} of tfds:{name}, or a slice. "
            f"Received: split={split!r}"
        ) from error
    return AnnotatedImages(class_names, count, elements)


def _tfds_boxes(element: dict) -> dict:
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


def _tfds_mask_classes(name: str) -> tuple[str, ...]:
    if name.split("/")[0].split(":")[0] != "oxford_iiit_pet":
        raise ValueError(
            "`dataset` must be a folder or tfds:oxford_iiit_pet to have masks whose classes are known. "
            f"Received: tfds:{name}"
        )
    return ("pet", "background", "border")


def _tfds_mask(element: dict) -> dict:
    # Masks of this data set are numbered from 1.
    return {"image": element["image"], "mask": element["segmentation_mask"][..., 0] - 1}
