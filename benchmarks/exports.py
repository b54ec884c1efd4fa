"""What `leoclr export` can write on this backend: the table of docs/export.md.

    KERAS_BACKEND=jax python benchmarks/exports.py

Every format, of a ResNet and of a ViT with random weights, on pictures of the bundled sample. Exits with 1
if a format that docs/export.md calls written is not.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_leoclr as kl
from keras_leoclr import export

# formats that are written, by backend, and what is an exception
WRITTEN = {
    "tensorflow": set(export.FORMATS),
    "jax": {"keras", "saved_model", "onnx", "safetensors", "pth"},
    "torch": {"keras", "onnx", "openvino", "safetensors", "pth"},
}
EXCEPTIONS = {("torch", "onnx", "vit")}


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    backend = keras.backend.backend()
    keras.utils.set_random_seed(0)
    networks = {"resnet": kl.backbones.resnet_small((28, 28, 3)), "vit": kl.backbones.vit_tiny(8, 32)}
    missing = []
    for name, network in networks.items():
        raw = kl.backbones.with_normalization(network, (0.286,) * 3, (0.353,) * 3)
        views = kl.LeOCLRViews(raw.input_shape[1], mean=(0.0,) * 3, std=(1 / 255,) * 3)
        source = kl.data.load("fashion_mnist", "test").take(32)
        images = next(kl.data.image_batches(source, views).as_numpy_iterator())[0]
        for format, kind in export.FORMATS.items():
            with tempfile.TemporaryDirectory() as folder:
                try:
                    made = export.write(raw, pathlib.Path(folder) / f"x{kind.suffix}", format, images)
                except (ValueError, OSError, ImportError) as error:
                    text, written = str(error)[:160], False
                else:
                    written = True
                    batches = f"batches of {made.batch_sizes} only" if made.refused else "any batch size"
                    text = f"deviation {made.deviation:.1e}, {batches}"
            print(f"{backend:12}{name:8}{format:13}{'' if written else 'not written: '}{text}", flush=True)
            if format in WRITTEN[backend] and (backend, format, name) not in EXCEPTIONS and not written:
                missing.append((format, name))
    for format, name in missing:
        print(f"{format} of a {name} is to be written on {backend} and was not", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
