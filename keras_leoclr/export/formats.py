"""The formats that backbones are exported to, each with the runtime that executes it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from keras_leoclr.backbones.torch_weights import from_torch


@dataclasses.dataclass(frozen=True)
class Format:
    """A format that backbones are exported to.

    Attributes:
        suffix: suffix of the file; "" for a folder.
        run: function `(path, images) -> features` which runs the exported network on images (N, H, W, C) in
            the format's own runtime.
        keras_name: name of the format for Keras' `model.export`; None if this package writes it.
        runtime: name of the runtime that executes the file when it is compared with Keras.
        limits: what cannot be done with the format, in words.
        packages: packages that are needed to write and check the format, besides those that are always
            installed; () by default.
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
    from keras_leoclr.tensorflow_host import tf

    loaded = tf.saved_model.load(str(path))  # kept in a variable, because `serve` does not keep its weights
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

    # By default OpenVINO computes in bfloat16 on CPUs that have it, and features deviate by some thousandths.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(str(path), "CPU", exact)(images)[0]


def run_torch(
    path: pathlib.Path, images: np.ndarray, stem: str | None = None, num_heads: int | None = None
) -> np.ndarray:
    """Computes features with weights in torch's layout, which `from_torch` reads.

    Args:
        path: path of the file.
        images: (N, H, W, C) normalised images.
        stem: stem of the network if the file does not name it, see `from_torch`; None by default.
        num_heads: number of attention heads if the file does not name it, likewise.
    """
    model = from_torch(path, images.shape[1:], stem, num_heads=num_heads, verbose=False)
    return keras.ops.convert_to_numpy(model(images, training=False))


_TORCH_LIMITS = (
    "The file holds weights alone, with the names of torchvision or timm, which build the network. It has no "
    "normalisation layer and no projection. The network can be trained."
)
FORMATS = {
    "keras": Format(".keras", _run_keras, None, "Keras from the file", "The input size is fixed."),
    "saved_model": Format(
        "",
        _run_saved_model,
        "tf_saved_model",
        "TensorFlow with `tf.saved_model.load(path).serve`",
        "The input size is fixed. BatchNorm cannot be trained. Gradients reach the images.",
    ),
    "onnx": Format(
        ".onnx",
        _run_onnx,
        "onnx",
        "onnxruntime on the CPU",
        "The input size is fixed. There are no gradients.",
        ("onnx", "onnxruntime"),
    ),
    "litert": Format(
        ".tflite",
        _run_litert,
        "litert",
        "LiteRT's interpreter on the CPU",
        "The input size is fixed. There are no gradients. Call `resize_tensor_input` before another batch "
        "size.",
        ("ai_edge_litert",),
    ),
    "openvino": Format(
        ".xml",
        _run_openvino,
        "openvino",
        "OpenVINO on the CPU, in float32",
        "The weights are in the file .bin beside it. The input size is fixed. There are no gradients. CPUs "
        "that "
        "have bfloat16 compute in it, unless INFERENCE_PRECISION_HINT is f32.",
        ("openvino",),
    ),
    "safetensors": Format(".safetensors", run_torch, None, "Keras after `from_torch`", _TORCH_LIMITS),
    "pth": Format(".pth", run_torch, None, "Keras after `from_torch`", _TORCH_LIMITS, ("torch",)),
}
