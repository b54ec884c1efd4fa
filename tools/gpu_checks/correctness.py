"""Checks that the device computes the same as a CPU: steps, kernels, views, and a resumed run."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile

import keras
import numpy as np
from keras import ops

import keras_leoclr as kl
from keras_leoclr.backbones.kernels import with_fast_kernels
from keras_leoclr.callbacks import Checkpoint
from tools.gpu_checks import cases, devices


def versions(size):
    """Versions and device."""
    found = devices.about()
    text = ", ".join(f"{name} {value}" for name, value in found.items())
    if size is cases.TINY or devices.on_gpu():
        return True, text, found
    return False, f"the backend sees no GPU: {text}", found


def five_steps(size):
    """Compares five steps with stored numbers of a CPU; if there are none, only prints the results."""
    expected = cases.reference()[size.name]
    found = {}
    with devices.products("float32"):
        found["float32"] = cases.deviation(cases.numbers_of_five_steps(size), expected)
        found["mixed_bfloat16"] = cases.deviation(
            cases.numbers_of_five_steps(size, "mixed_bfloat16"), expected
        )
    with devices.products("tf32"):
        found["tf32"] = cases.deviation(cases.numbers_of_five_steps(size), expected)
    text = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    return found["float32"] < 1e-4, f"largest relative deviation: {text} (float32 < 1e-4)", found


def kernels(size):
    """Compares outputs and gradients of the faster kernels of a network with those of its stock layers.

    Of two roundings of a number near 0, ReLU may pass one and stop the other. Single entries of the gradients
    then differ by several percent, on a CPU too, and also if only the images are rounded differently.
    Therefore the gradients are compared as one vector, and the effect of such noise is shown beside.
    """
    backbone = cases.model_of(size.network, size.pixels, size.queue).backbone
    faster = with_fast_kernels(backbone)
    if faster is backbone:
        return True, "JAX compiles the stock layers and has no other form", {}
    images = cases.batch_of(size.pixels, size.batch)["query"]
    noisy = images + 3e-6 * cases.drawn(images.shape, "noise")
    with devices.products("float32"):
        stock, fast, noise = (
            _outputs_and_gradients(model, backbone.trainable_variables, inputs)
            for model, inputs in ((backbone, images), (faster, images), (backbone, noisy))
        )
    figures = {"outputs": float(np.abs(fast[0] - stock[0]).max() / np.abs(stock[0]).max())}
    for name, found in (("gradients", fast), ("gradients_by_noise", noise)):
        difference = np.linalg.norm(found[1] - stock[1]) / np.linalg.norm(stock[1])
        figures[name] = float(difference)
    text = ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in figures.items())
    fine = figures["outputs"] < 1e-3 and figures["gradients"] < 5e-2
    return fine, f"relative deviation: {text} (outputs < 1e-3, gradients < 5e-2)", figures


def _outputs_and_gradients(model, variables, images):
    """Outputs (B, F) in training, and the gradients of all variables in one vector."""
    import torch

    outputs = model(ops.convert_to_tensor(images), training=True)
    weight = ops.convert_to_tensor(cases.drawn(tuple(outputs.shape), "outputs"))
    gradients = torch.autograd.grad((outputs * weight).sum(), [variable.value for variable in variables])
    parts = [ops.convert_to_numpy(gradient).ravel() for gradient in gradients]
    return ops.convert_to_numpy(outputs), np.concatenate(parts)


class _Stop(keras.callbacks.Callback):
    left = 7  # number of steps; JAX keeps the optimizer's own count elsewhere during training

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def resume(size):
    """Checks that a run that is interrupted and resumed ends with the same bits as one that is not."""
    if keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    batches = [cases.batch_of(size.pixels, size.batch, number) for number in range(5)]
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        for name, hooks in (("whole", []), ("resumed", [_Stop()]), ("resumed", [])):
            model = cases.model_of(size.network, size.pixels, size.queue)
            checkpoint = Checkpoint(pathlib.Path(folder) / name, minutes=0, budget=1)
            with contextlib.suppress(KeyboardInterrupt):
                checkpoint.fit(
                    model, lambda epoch, batch: cases.Batches(batches, 5, batch), 2, hooks, verbose=0
                )
            ends.append([ops.convert_to_numpy(variable) for variable in model.variables])
    same = sum(np.array_equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))
    moved = sum(not np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    figures = {"variables": len(ends[0]), "equal": same, "changed_since_the_stop": moved}
    return same == len(ends[0]) and moved > 0, f"{same} of {len(ends[0])} variables are equal", figures


def views_on_the_device(size):
    """Compares views that the device makes with stored views of the host, and measures images/s."""
    try:
        from keras_leoclr.views import device
    except ImportError:
        return None, "this version makes no views on the device", {}
    stored = cases.reference()["views"]
    images = cases.pictures(4, 40)
    views = kl.LeOCLRViews(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    batch = cases.canvases_of(views, images, (7, 0))
    with devices.products("float32"):
        made = device.views_of_batch(views.settings, tensors(batch))
    found = {name: sampled(ops.convert_to_numpy(made[name])) for name in ("query", "keys")}
    worst = float(np.max([np.abs(found[name] - np.asarray(stored[name])).max() for name in found]))
    count, pixels = (64, size.fast_pixels) if size is cases.FULL else (4, 16)
    large = kl.LeOCLRViews(pixels)
    batch = tensors(cases.canvases_of(large, cases.pictures(count, 2 * pixels), (7, 1)))
    function = compiled(lambda batch: device.views_of_batch(large.settings, batch))

    def once():
        made = function(batch)
        float(ops.convert_to_numpy(made["query"][0, 0, 0, 0]))

    once()
    seconds = cases.seconds_of(once, size.steps)
    figures = {"deviation": worst, "images_per_second": count / seconds}
    text = f"largest deviation {worst:.1e} (< 2e-3), {count / seconds:.0f} images/s of {pixels} px"
    return worst < 2e-3, text, figures


def tensors(batch):
    return {name: ops.convert_to_tensor(value) for name, value in batch.items()}


def sampled(values):
    """Some pixels of each view."""
    flat = np.asarray(values, "float32").reshape(len(values), -1)
    return flat[:, :: max(1, flat.shape[1] // 97)]


def compiled(function):
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)
