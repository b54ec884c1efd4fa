"""A backbone in the formats of other runtimes, each compared with Keras on real images before it is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_leoclr import model_card
from keras_leoclr.backbones.graph import rewired
from keras_leoclr.backbones.normalization import normalization_of, without_normalization
from keras_leoclr.backbones.torch_weights import from_torch, stem_of, to_torch
from keras_leoclr.evaluation.features import in_precision
from keras_leoclr.runs.files import whole_file

TOLERANCE = 1e-4  # of the largest feature


class ExportError(ValueError):
    """A format that could not be written, or whose features are not those of Keras. Nothing was left."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A format that backbones are exported to.

    Attributes:
        suffix: of the file; "" for a folder.
        run: (path, images) -> features, with the format's own runtime.
        keras_name: of Keras' `model.export`; None where this package writes the format.
        runtime: what it is compared with.
        limits: what the format cannot do.
        packages: to write and check it, beside those that are always there.
    """

    suffix: str
    run: Callable[[pathlib.Path, np.ndarray], np.ndarray]
    keras_name: str | None
    runtime: str
    limits: str
    packages: tuple[str, ...] = ()


def _run_keras(path, images):
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return keras.ops.convert_to_numpy(model(images, training=False))


def _run_saved_model(path, images):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # it holds the variables
    return loaded.serve(tf.constant(images)).numpy()


def _run_onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _run_litert(path, images):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _run_openvino(path, images):
    import openvino

    # by default, CPUs that have bfloat16 compute in it, and features deviate by some thousandths
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(str(path), "CPU", exact)(images)[0]


def _run_torch(path, images, stem=None):
    model = from_torch(path, input_shape=images.shape[1:], stem=stem, verbose=False)
    return keras.ops.convert_to_numpy(model(images, training=False))


_TORCH_LIMITS = (
    "weights only, named as torchvision's or timm's: the network is built there; no normalisation layer and "
    "no projection; input size free where the network allows it; can be trained"
)
FORMATS = {
    "keras": Format(
        ".keras", _run_keras, None, "Keras, read again", "any batch size, one input size; can be trained"
    ),
    "saved_model": Format(
        "",
        _run_saved_model,
        "tf_saved_model",
        "TensorFlow, `tf.saved_model.load(path).serve`",
        "one input size, inference mode only; gradients reach the images, BatchNorm cannot be trained",
    ),
    "onnx": Format(
        ".onnx",
        _run_onnx,
        "onnx",
        "onnxruntime on the CPU",
        "one input size, inference only, no gradients",
        ("onnx", "onnxruntime"),
    ),
    "litert": Format(
        ".tflite",
        _run_litert,
        "litert",
        "LiteRT's interpreter on the CPU",
        "one input size, inference only, no gradients; `resize_tensor_input` before another batch size",
        ("ai_edge_litert",),
    ),
    "openvino": Format(
        ".xml",
        _run_openvino,
        "openvino",
        "OpenVINO on the CPU, in float32",
        "weights in the .bin beside it; one input size, inference only, no gradients; CPUs with bfloat16 "
        "compute in it unless INFERENCE_PRECISION_HINT is f32",
        ("openvino",),
    ),
    "safetensors": Format(".safetensors", _run_torch, None, "`from_torch` and Keras", _TORCH_LIMITS),
    "pth": Format(".pth", _run_torch, None, "`from_torch` and Keras", _TORCH_LIMITS, ("torch",)),
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: the file or folder.
        format: a name in `FORMATS`.
        deviation: largest difference of a feature from Keras', over the largest feature.
        images: that were compared.
        batch_sizes: that the exported network took, of those that were tried.
        refused: batch sizes that it did not take.
        card: what `NAME.json` beside it says.
    """

    path: pathlib.Path
    format: str
    deviation: float
    images: int
    batch_sizes: tuple[int, ...]
    refused: tuple[int, ...]
    card: dict[str, Any]

    def __str__(self) -> str:
        batches = "any batch size" if not self.refused else f"batches of {self.batch_sizes[0]} only"
        return (
            f"{self.path}: {self.format}, {self.card['file']['bytes']} bytes\n"
            f"  features of {self.images} images deviate by {self.deviation:.1e} of the largest from Keras' "
            f"({FORMATS[self.format].runtime}); allowed {TOLERANCE:g}\n"
            f"  input {'x'.join(map(str, self.card['input']['shape']))}, {self.card['input']['range']}; "
            f"{batches}\n  limits: {FORMATS[self.format].limits}"
        )


def write(
    backbone: keras.Model,
    path: str | os.PathLike,
    format: str,
    images: np.ndarray,
    overwrite: bool = False,
    about: dict[str, Any] | None = None,
) -> Exported:
    """Exports a backbone, runs what was written in its own runtime, and keeps it if the features agree.

    Beside it, `NAME.json` says what `model_card.describe` says of a backbone, the format, the deviation and
    the limits. Until everything is checked the name holds what it held before; after an error, for good.

    Args:
        backbone: (B, H, W, C) -> (B, F). Low precision is exported as float32.
        path: of the file, with the suffix of the format, or of the folder of a SavedModel.
        format: a name in `FORMATS`: keras, saved_model, onnx, litert, openvino, safetensors or pth.
        images: (N, H, W, C) real images to compare features on, N >= 3, raw, in [0, 255], for a backbone that
            normalises them, else normalised.
        overwrite: whether what is there may be replaced.
        about: more for the card, such as `encoder`, `data` and `training`.

    Returns:
        What was exported.

    Raises:
        ExportError: if the format cannot be written here, or the features deviate by more than `TOLERANCE`
            of the largest.
        FileExistsError: if there is something and `overwrite` is false.
        ImportError: if a package is missing; it names the extra to install.
    """
    if format not in FORMATS:
        raise ValueError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}")
    kind, path = FORMATS[format], pathlib.Path(path)
    if path.suffix != kind.suffix:
        rule = f"end in {kind.suffix}" if kind.suffix else "be a folder, without a suffix"
        raise ValueError(f"`path` must {rule} for {format}. Received: path={path}")
    shape = tuple(backbone.input_shape[1:])
    images = np.asarray(images, "float32")
    if images.ndim != 4 or images.shape[1:] != shape or len(images) < 3:
        raise ValueError(
            f"`images` must be (N, {', '.join(map(str, shape))}), N >= 3. Received: {images.shape}"
        )
    if path.exists() and not overwrite:
        raise FileExistsError(f"`path` is there already; `overwrite` replaces it. Received: path={path}")
    for package in kind.packages:
        _needs(package, format)
    backbone = in_precision(backbone, "float32" if _is_low(backbone) else None)
    made, given, execute = backbone, images, kind.run
    if kind.run is _run_torch:
        execute = functools.partial(_run_torch, stem=stem_of(backbone))  # a .pth does not say it
        made = without_normalization(backbone)
    if made is not backbone:
        normalization = normalization_of(backbone)
        mean, std = np.asarray(normalization, "float32")
        given = (images / 255.0 - mean) / std
    with _whole(path, overwrite) as partial:
        _make(made, partial, format)
        card = model_card.describe(made, partial) | (about or {})
        card["normalization"] = (about or {}).get("normalization") or _numbers(backbone, made)
        sizes = (len(images), 1, 2)
        found = {size: _features(execute, partial, given[:size]) for size in sizes}
        deviations = {}
        for size, features in found.items():
            if isinstance(features, Exception):
                continue
            expected = keras.ops.convert_to_numpy(backbone(images[:size], training=False))
            deviations[size] = _deviation(features, expected)
        refused = tuple(size for size in sizes if size not in deviations)
        if not deviations:
            raise ExportError(
                f"{format} was written and does not run in {kind.runtime}; it was removed. {_hint(format)} "
                f"Received: {_first(found[sizes[0]])}"
            )
        worst = max(deviations.values())
        if not worst <= TOLERANCE:
            raise ExportError(
                f"{format}: features deviate from Keras' by {worst:.1e} of the largest, {TOLERANCE:g} is "
                f"allowed; the file was removed. {_hint(format)}"
            )
        card["file"]["name"] = path.name
        card["export"] = {
            "format": format,
            "runtime": kind.runtime,
            "deviation": worst,
            "images": max(deviations),
            "batch_sizes_refused": refused,
            "limits": kind.limits,
        }
    with whole_file(_card_path(path)) as file:
        file.write((json.dumps(card, indent=2) + "\n").encode())
    return Exported(path, format, worst, max(deviations), tuple(sorted(deviations)), refused, card)


def _make(backbone: keras.Model, path: pathlib.Path, format: str) -> None:
    """Writes the format to a path that does not exist."""
    kind = FORMATS[format]
    try:
        if format == "keras":
            backbone.save(path)
        elif kind.keras_name is None:
            to_torch(backbone, path)
        else:
            network = _with_error_function(backbone) if format == "onnx" else backbone
            network(np.zeros((1, *network.input_shape[1:]), "float32"))  # Keras asks for a first call
            network.export(str(path), format=kind.keras_name, verbose=False)
    except ImportError as error:
        raise ImportError(
            f"{format} needs another package on {keras.backend.backend()}; nothing is left. {_hint(format)} "
            f"Received: {_first(error)}"
        ) from error
    except Exception as error:  # each converter raises its own kinds
        raise ExportError(
            f"Keras {keras.__version__} cannot write {format} on {keras.backend.backend()}; nothing is left. "
            f"{_hint(format)} Received: {_first(error)}"
        ) from error


@keras.saving.register_keras_serializable("keras_leoclr")
class _ErrorFunctionGELU(keras.layers.Layer):
    """`0.5 x (1 + erf(x / sqrt(2)))`: GELU by an operation that ONNX has; TensorFlow's uses erfc."""

    def call(self, x):
        return 0.5 * x * (1.0 + keras.ops.erf(x / math.sqrt(2.0)))


def _with_error_function(backbone: keras.Model) -> keras.Model:
    """The same network, of the same layers but for its GELUs."""

    def exchanged(layer):
        gelu = isinstance(layer, keras.layers.Activation) and layer.get_config()["activation"] == "gelu"
        return _ErrorFunctionGELU(name=layer.name) if gelu else layer

    if any(exchanged(layer) is not layer for layer in backbone.layers):
        return rewired(backbone, exchanged)
    return backbone


def _features(execute, path, images):
    """Features, or the error of a runtime that does not take the batch."""
    try:
        return np.asarray(execute(path, images))
    except Exception as error:  # each runtime raises its own kinds
        return error


def _deviation(features: np.ndarray, expected: np.ndarray) -> float:
    if features.shape != expected.shape or not np.isfinite(features).all():
        return math.inf
    return float(np.abs(features - expected).max() / max(np.abs(expected).max(), 1e-30))


def _numbers(backbone, made) -> dict[str, Any]:
    """Normalisation, whether it is within what is exported or left to whoever uses it."""
    mean, std = normalization_of(backbone) or (None, None)
    return {"included": normalization_of(made) is not None, "mean": mean, "std": std}


def _is_low(backbone) -> bool:
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in backbone.layers)


def _card_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".json") if path.suffix == ".keras" else path.with_name(f"{path.name}.json")


@contextlib.contextmanager
def _whole(path: pathlib.Path, overwrite: bool) -> Iterator[pathlib.Path]:
    """A name in an empty folder; what is there when the block ends moves to `path`, after an error not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        partial = pathlib.Path(folder) / path.name
        yield partial
        if overwrite:
            _card_path(path).unlink(missing_ok=True)  # of the file that goes
            if path.is_dir():
                shutil.rmtree(path)
        # an .xml last: whoever finds it finds its .bin
        for made in sorted(partial.parent.iterdir(), key=lambda found: found == partial):
            os.replace(made, path.parent / made.name)


def _needs(package: str, format: str) -> None:
    try:
        __import__(package)
    except ImportError as error:
        extra = "torch" if package == "torch" else "export"
        raise ImportError(
            f"`{format}` needs the package {package}: pip install 'keras-leoclr[{extra}]'"
        ) from error


def _hint(format: str) -> str:
    if keras.backend.backend() == "tensorflow" or FORMATS[format].keras_name is None:
        return "docs/export.md has what works where."
    return (
        "The same file can be written on TensorFlow, from the same backbone: "
        f"KERAS_BACKEND=tensorflow leoclr export --formats {format}."
    )


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
