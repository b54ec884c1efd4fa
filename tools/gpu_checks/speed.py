"""Images per second, memory and launches of a step, beside the same step in plain torch."""

from __future__ import annotations

import keras
import numpy as np

from tools.gpu_checks import cases, devices

PRECISIONS = {  # policy of Keras and kind of products; first what a run takes by default
    "bf16": ("mixed_bfloat16", "tf32"),
    "tf32": ("float32", "tf32"),
    "float32": ("float32", "float32"),
}
TORCH = keras.backend.backend() == "torch"


def steps(size, left):
    """Images/s and peak memory of a step in each precision, and of plain torch, eager and compiled.

    Args:
        size: size of the checks.
        left: function that returns the seconds that are left for the checks of this backend.
    """
    figures = {}
    for name, (policy, kind) in PRECISIONS.items():
        if figures and left() < 60:
            figures[name] = None
            continue
        devices.forget_peak()
        with devices.products(kind):
            figures[name] = _ours(size, policy)
            if TORCH and name != "float32":
                devices.forget_peak()
                figures[f"plain {name}"] = _plain(size, policy, False)
    if TORCH and size is cases.FULL and left() > 180:
        devices.forget_peak()
        with devices.products("tf32"):
            figures["plain bf16, compiled"] = _plain(size, "mixed_bfloat16", True)
    known = {name: figure for name, figure in figures.items() if figure}
    text = ", ".join(f"{name} {figure['images_per_second']:.0f}" for name, figure in known.items())
    for name in ("tf32", "bf16"):
        for other in (f"plain {name}", f"plain {name}, compiled"):
            if name in known and other in known:
                ratio = known[name]["images_per_second"] / known[other]["images_per_second"]
                known[name][f"over_{other}"] = ratio
                text += f"; {name} / {other} {ratio:.2f}"
    memory = ", ".join(f"{name} {figure['peak_mib']:.0f}" for name, figure in known.items())
    left_out = [name for name, figure in figures.items() if not figure]
    text = f"images/s: {text}; peak MiB: {memory}" + (f"; no time for {left_out}" if left_out else "")
    fine = all(np.isfinite(figure["images_per_second"]) for figure in known.values())
    return fine, text, figures


def _ours(size, policy):
    model = cases.model_of(size.fast_network, size.fast_pixels, size.fast_queue, policy)
    batch = {
        name: keras.ops.convert_to_tensor(value)
        for name, value in cases.batch_of(size.fast_pixels, size.fast_batch).items()
    }
    if TORCH:
        model.train()

        def once():
            model.train_step((batch,))
            devices.wait()

    else:
        run = jax_step(model, batch)

        def once():
            run()

    return _measured(once, size)


def jax_step(model, batch):
    """One step of the compiled function that `fit` runs, on a batch that is on the device."""
    import jax

    model.fit(cases.Batches([batch], 1), verbose=0)
    state = model._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    state = [jax.tree.map(lambda value: value + 0, state)]  # The function donates its arguments.

    def run():
        logs, state[0] = model.train_function(state[0], iter([(batch,)]))
        jax.block_until_ready(logs)

    return run


def _plain(size, policy, compiled):
    import torch

    from tools.gpu_checks.plain_torch import Plain

    device = "cuda" if devices.on_gpu() else "cpu"
    plain = Plain(size.fast_network, size.fast_queue, device, policy, compiled)
    made = cases.batch_of(size.fast_pixels, size.fast_batch)
    query, *keys = (
        torch.from_numpy(np.ascontiguousarray(view)).to(device).permute(0, 3, 1, 2)
        for view in (made["query"], made["keys"][:, 0], made["keys"][:, 1])
    )

    def once():
        plain.step(query, keys)
        devices.wait()

    return _measured(once, size)


def _measured(once, size):
    for _ in range(3 if size is cases.FULL else 1):
        once()
    seconds = cases.seconds_of(once, size.steps)
    return {"images_per_second": size.fast_batch / seconds, "peak_mib": devices.peak_mib()}


def launches(size):
    """Counts kernels, copies and synchronisations of one step on torch, or the JAX program of the step."""
    if not TORCH:
        return None, "on JAX a step is one program: nothing is launched from Python", {}
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks import launches as counting

    model = cases.model_of(size.fast_network, size.fast_pixels, size.fast_queue)
    batch = {
        name: keras.ops.convert_to_tensor(value)
        for name, value in cases.batch_of(size.fast_pixels, min(size.fast_batch, 32)).items()
    }
    model.train()
    for _ in range(3):
        model.train_step((batch,))
    figures, _ = counting.counts_of(lambda: model.train_step((batch,)))
    if torch.cuda.is_available():
        devices.wait()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
            model.train_step((batch,))
            devices.wait()
        names = [event.name for event in recorded.events()]
        figures |= {
            "kernels": sum(name.startswith(("cudaLaunchKernel", "cuLaunchKernel")) for name in names),
            "synchronisations": sum("Synchronize" in name for name in names) - 1,
            "copies_to_or_from_the_host": sum("DtoH" in name or "HtoD" in name for name in names),
        }
    text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in figures.items())
    return figures["stops"] <= 1, f"{text} (at most 1 stop)", figures
