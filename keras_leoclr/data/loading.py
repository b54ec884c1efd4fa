"""Loads images from a name or path: folders, arrays, TFRecord files and TensorFlow Datasets."""

from __future__ import annotations

import functools
import os
import tarfile
import zipfile
from collections.abc import Sequence
from typing import Any

from keras_leoclr.checks import check_value_range, whole_number
from keras_leoclr.data import decode, streams
from keras_leoclr.data.channels import ChannelPixels
from keras_leoclr.data.extent import Extent
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.readers import arrays, bundled_scenes, folder, idx, mixture, tfds, tfrecord, voc_labels
from keras_leoclr.data.readers.files import PACKED, SUFFIXES
from keras_leoclr.data.source import Source
from keras_leoclr.data.splits import SplitError, split_name
from keras_leoclr.data.value_range import check_source


def load(
    name_or_path: Any,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    on_error: str = "raise",
    max_failures: float | None = None,
    max_pixels: int = decode.MAX_PIXELS,
    background: Sequence[int] = decode.WHITE,
    least_pixels: int | None = None,
    parallel: int = 2,
    progress: bool = True,
    channels: int = 3,
    value_range: Sequence[float] | Extent = (),
) -> Source:
    """Loads images, with labels if there are any.

    Args:
        name_or_path: one of
            - `"fashion_mnist"`: 10,000 training and 2,000 test images of Fashion-MNIST, 28 x 28, grey,
              that come with this package;
            - `"fashion_scenes"`: 10,000 training and 2,000 test pictures with several of these garments,
              32 x 32, made when they are loaded, with several labels; settings may follow, as in
              `"fashion_scenes:things=2-4,size=12,background=cloudy,colour=no"`, see `fashion_scenes`;
            - a folder of pictures. The sub-folders `train`, `test`, `validation` or `val` are its splits;
              where there is no `train`, everything else is "train". One sub-folder per class gives labels,
              as in torchvision's `ImageFolder`, and pictures directly in the folder none. JPEG, PNG, WebP,
              BMP, GIF and TIFF in any colour mode become RGB. The pictures are in the order of a hash of
              their path, so that a slice is a sample of all classes. Folders that hold runs of this package
              are left out. Headers are read once and kept in `$XDG_CACHE_HOME/keras_leoclr`;
            - such a folder with a file `labels.csv`, which gives each picture several labels: the columns
              `file` and `labels`, names of classes with | between them;
            - a folder in the format of Pascal VOC, with `JPEGImages` and `Annotations`: labels are the
              classes of the objects, splits the text files in `ImageSets/Main`, such as "trainval";
            - several places of pictures, as a list or as one text with commas between them: folders, patterns
              such as `"photos/*/*.jpg"`, `.txt` and `.csv` files that name pictures, `.zip` and uncompressed
              `.tar` files, which are read without unpacking, and single pictures; each alone as well, but
              for a single picture. A picture has the first folder below its place as class, if all have one;
              a `.csv` file may have a column `class`. See docs/own_data.md;
            - a folder of IDX files, the format of MNIST and Fashion-MNIST: `train-images-idx3-ubyte.gz`,
              `train-labels-idx1-ubyte.gz`, and `t10k-...` for "test", packed or not;
            - a path or glob of TFRecord files whose examples hold an encoded picture as `image/encoded`
              or `image` and, optionally, `image/class/label` or `label`: a number, or zeros and ones, one
              for each class, with several labels per picture;
            - `"tfds:NAME"`: a data set of TensorFlow Datasets with features `image` and, if it has
              labels, `label`. Several labels per picture are taken from `labels`, a list of class labels as
              in `voc/2007`, else from the class labels of `objects`, as in `coco/2017`;
            - a path to a `.npz` file with arrays `image`, (N, H, W, C) uint8 or float, pixels in [0, 255],
              and, optionally, `label`, which are the split "train"; with splits, the arrays are called
              `train_image`, `train_label`, `test_image` and so on;
            - a dictionary of such arrays, or a pair `(images, labels)`.

            The labels of arrays are numbers of classes (N,), -1 for none; or, with several labels per image,
            zeros and ones (N, C). `class_names`, (C,) strings, may be among the arrays.
        split: "train" (the default), "test", or another split of the source, and slices of it such as
            "train[:80%]", "train[80%:]" or "train[100:200]". TFRecord files are "train" and have no slices.
            Arrays are sliced in their stored order, as by NumPy: if arrays are sorted by class, "train[:10%]"
            has only the first classes. `load(...).sample(count, seed)` draws a random sample instead.
        data_dir: folder where TensorFlow Datasets keeps its files.
        on_error: what to do with a picture that cannot be read. "raise" (the default) raises an error that
            names it. "skip" leaves out a picture whose header cannot be read. If decoding the pixels fails,
            the next good picture replaces it, so that the number of images and their order stay the same. In
            streams every bad picture is replaced.
        max_failures: with "skip", the largest share of pictures that may fail, in [0, 1]; by default 0.01,
            but one picture is always allowed.
        max_pixels: largest width times height of a picture, at most 178,956,970; larger ones cannot be read.
        background: RGB in [0, 255] behind transparent pixels; white by default.
        least_pixels: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least so
            many pixels remain; None (the default) decodes at full size.
        parallel: number of pictures that are decoded at the same time; 2 by default.
        progress: whether to show a progress bar if reading the headers of a folder takes over a second; true
            by default.
        channels: C of the images. Other numbers than 3, or a `value_range`, are for arrays, .npz files, and
            folders, archives, lists and mixtures of .npy, TIFF and PNG files, whose values then are kept as
            they are: 16 bits of grey as they are stored, not their upper 8. Arrays of one channel are taken
            as 3 as well, and stay grey, if there is no `value_range`; with one, they need `channels=1`.
        value_range: the two values that become 0 and 255. Empty for the range of the type: 0 to 255 for 8
            bits, 0 to 65535 for 16; values of other types need it. A value outside is an error. An
            `Extent` notes the values instead, see `extent.value_range_of`.

    Returns:
        A `Source` of `{"image": (H, W, C) uint8 or float, "label": () int64}`, one element per image, pixels
        in [0, 255]. The label -1 marks an image without a label; `label` is missing if no image has one. With
        several labels per image, `label` is (C,) uint8 zeros and ones, and `several_labels` is true. The
        source can be read by number, except for streams: TFRecord files, and data sets of TensorFlow Datasets
        that are stored in such files.

    Raises:
        ValueError, FileNotFoundError: if an argument is wrong, the pictures cannot be read, or float images
            are not pixels in [0, 255].
    """
    decode.check_options(on_error, max_pixels, background, least_pixels, parallel)
    own = None
    if isinstance(value_range, Extent):
        own = value_range
    elif whole_number("channels", channels, 1) != 3 or check_value_range(value_range):
        own = ChannelPixels(channels, value_range, max_pixels)
    failures = Failures(max_failures=max_failures)
    pixels = {"background": tuple(background), "max_pixels": max_pixels}
    decoded = functools.partial(streams.decode_dataset, on_error=on_error, failures=failures, **pixels)
    options = {"failures": failures, "least_pixels": least_pixels, "parallel": parallel}
    if isinstance(name_or_path, tuple) and len(name_or_path) == 2 and hasattr(name_or_path[0], "shape"):
        name_or_path = dict(zip(("image", "label"), name_or_path, strict=True))
    if isinstance(name_or_path, dict):
        images = arrays.array_images(name_or_path, split, "a dictionary of arrays", pixels=own)
        return Source(images, **options)
    reading = {"progress": progress, "skip": on_error == "skip", **pixels}
    paths = (str, bytes, os.PathLike)
    if isinstance(name_or_path, (list, tuple)) and name_or_path:
        if all(isinstance(place, paths) for place in name_or_path):
            places = [os.path.expanduser(os.fsdecode(place)) for place in name_or_path]
            images = mixture.mixed_images(places, split, failures, pixels=own, **reading)
            return Source(images, **options)
    if not isinstance(name_or_path, paths):
        for_arrays = ' Arrays are taken as `{"image": images, "label": labels}` or `(images, labels)`.'
        advice = for_arrays if hasattr(name_or_path, "shape") else ""
        raise ValueError(
            "`name_or_path` must be a name, a path, a list of paths or a dictionary of arrays."
            f"{advice} "
            f"Received: {type(name_or_path).__name__}"
        )
    name = os.path.expanduser(os.fsdecode(name_or_path))
    known = name.startswith("tfds:") or name in arrays.BUNDLED or bundled_scenes.is_scenes(name)
    places = None if known else mixture.places_in(name, own)
    if own is not None and not places and _reads_rgb(name):
        raise _not_rgb(name, own)
    if name.startswith("tfds:"):
        return _of_tfds(name.removeprefix("tfds:"), split, data_dir, decoded, options)
    if name in arrays.BUNDLED:
        return Source(arrays.bundled_images(name, split, own), **options)
    if bundled_scenes.is_scenes(name):
        return Source(bundled_scenes.named_scenes(name, split), **options)
    if places:
        return Source(mixture.mixed_images(places, split, failures, pixels=own, **reading), **options)
    if os.path.isdir(name) and idx.has_idx(name):
        found = idx.idx_arrays(name, wanted := split_name(split))
        return Source(arrays.array_images(found, split, name, pixels=own, undivided=wanted), **options)
    if os.path.isdir(name) and voc_labels.is_voc(name):
        return Source(voc_labels.voc_images(name, split, failures, **reading), **options)
    if os.path.isdir(name):
        return Source(folder.folder_images(name, split, failures, pixels=own, **reading), **options)
    if os.path.isfile(name):
        _check_file(name)
    if name.endswith(".npz"):
        return Source(arrays.npz_images(name, split, pixels=own), **options)
    return _of_tfrecords(name, split, progress, decoded, options)


def _not_rgb(place: Any, pixels: ChannelPixels) -> ValueError:
    return ValueError(
        "`channels` other than 3 and `value_range` are for arrays, .npz files, and folders, archives and "
        f"lists of .npy, TIFF and PNG files. Received: {place!r}, channels={pixels.channels}, "
        f"value_range={pixels.value_range}"
    )


def _reads_rgb(name: str) -> bool:
    """Whether a source has RGB of 8 bits and nothing else."""
    if os.path.isdir(name):
        return voc_labels.is_voc(name) and not idx.has_idx(name)
    return name not in arrays.BUNDLED and not name.endswith(".npz")


def _check_file(name: str) -> None:
    """Raises ValueError for a single picture and for a packed folder, which are not sources of images."""
    suffix = os.path.splitext(name)[1].lower()
    if os.fsencode(suffix) in SUFFIXES:
        folder = shown(os.path.dirname(os.path.abspath(name)))
        raise ValueError(
            f"`name_or_path` must be the folder of the pictures, such as {folder}. "
            f"Received: {shown(name)}, a single picture"
        )
    if suffix != ".npz" and (suffix in PACKED or zipfile.is_zipfile(name) or _is_tar(name)):
        raise ValueError(
            "`name_or_path` must be a folder of pictures, a .zip or .tar file, a .npz file or TFRecord "
            f"files; unpack the archive and name its folder. Received: {shown(name)}"
        )


def _is_tar(name: str) -> bool:
    try:
        return tarfile.is_tarfile(name)
    except OSError:  # The file may not be readable; its own reader will report that.
        return False


def _of_tfds(name: str, split: str, data_dir: Any, decoded: Any, options: dict[str, Any]) -> Source:
    found = tfds.TFDSSource(name, split, data_dir)
    if found.random_access:
        images = tfds.RecordImages(found, decoded if found.encoded else tfds.without_name)
        return check_source(Source(images, **options), "name_or_path")
    options = {**options, "mixed": found.mixed, "class_names": found.class_names}
    if found.encoded:
        return Source(encoded=found.stream(), decode=decoded, **options)
    source = Source(dataset=tfds.without_name(found.stream()), **options)
    return check_source(source, "name_or_path")


def _of_tfrecords(name: str, split: str, progress: bool, decoded: Any, options: dict[str, Any]) -> Source:
    files = tfrecord.tfrecord_files(name)
    if not files and (os.sep in name or "." in name):
        raise FileNotFoundError(f"`name_or_path`: no such file or folder. Received: {shown(name)}")
    if not files:
        raise ValueError(
            f'`name_or_path` must be one of {[*sorted(arrays.BUNDLED), bundled_scenes.NAME]}, "tfds:NAME", '
            f"a folder, a .npz file, TFRecord files or a dictionary of arrays. Received: {name!r}"
        )
    if split != "train":
        raise SplitError(
            f'`split` of TFRecord files must be "train", which is all of {shown(name)}; give other files for '
            f"other splits. Received: split={split!r}"
        )
    records = tfrecord.RecordFiles(files, progress)
    return Source(encoded=records.stream(), decode=decoded, pick=records.pick, **options)
