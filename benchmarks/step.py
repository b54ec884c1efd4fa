"""Training steps, beside lightly's modules in torch and beside the bare sum of their parts.

    make .venv-interop/.done                     # once, for lightly; or --without-peers
    python benchmarks/step.py                    # TensorFlow
    python benchmarks/step.py --backends tensorflow jax torch --networks small
    python benchmarks/step.py --parts peers --layouts channels_last compiled   # needs a C++ compiler

One batch is in memory, so that nothing but the step is measured. Each candidate is a process of its own
and they take turns on the same cores; printed are medians over the rounds and, within a round, ratios.
`parts` are the forward and backward pass of the query encoder and a forward pass for each key view.
"""

import argparse
import statistics
import sys

from turns import PEERS_PYTHON, Server, rounds, table

# network, side, batch size, queue, steps of a turn
SETTINGS = {
    "small": {"network": "small", "size": 32, "batch": 256, "queue": 4096},
    "resnet18": {"network": "resnet18", "size": 96, "batch": 64, "queue": 4096},
}
STEPS = {"small": 16, "resnet18": 6}


def keras(backend):
    return Server("step_keras.py", sys.executable, {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"})


def lightly():
    return Server("step_lightly.py", PEERS_PYTHON, {"CUDA_VISIBLE_DEVICES": ""})


def speed(server, batch, **request):
    """A candidate for `rounds`: images/s, after a turn that compiles."""
    server(**{**request, "batch": batch, "steps": 1})
    return lambda: batch * server(**request, batch=batch)


def compare(name, backends, count, layouts):
    setting = {**SETTINGS[name], "steps": STEPS[name]}
    candidates = {}
    for backend in backends:
        candidates[f"keras_leoclr, {backend}"] = speed(keras(backend), kind="step", **setting)
    if layouts:
        server = lightly()
        for layout in layouts:
            candidates[f"lightly, {layout}"] = speed(server, kind="step", layout=layout, **setting)
    title = "{network}, {size} px, batch {batch}, K {queue}, 3 views".format(**setting)
    print(table(title, rounds(candidates, count), f"keras_leoclr, {backends[0]}"), flush=True)


def against_its_parts(name, backend, count):
    server = keras(backend)
    setting = {**SETTINGS[name], "steps": STEPS[name]}
    candidates = {"bare sum of its parts": speed(server, kind="parts", **setting)}
    for queue in (4096, 65536, 262144):
        setting["queue"] = queue
        candidates[f"step, K {queue}"] = speed(server, kind="step", **setting)
    speeds = rounds(candidates, count)
    title = f"{name}, {backend}: cost of the queue, beside the bare parts"
    print(table(title, speeds, "step, K 65536"), flush=True)

    def times(a, b):
        return statistics.median(x / y for x, y in zip(speeds[a], speeds[b], strict=True))

    print(f"  time of a step, K 65536 / bare parts: {times('bare sum of its parts', 'step, K 65536'):.3f}")
    print(f"  time of a step, K 65536 / K 4096:     {times('step, K 4096', 'step, K 65536'):.3f}", flush=True)


def growth(name, backend, count):
    server = keras(backend)
    setting = {**SETTINGS[name], "steps": STEPS[name]}
    half = {**setting, "batch": setting["batch"] // 2}
    candidates = {
        "as above": speed(server, kind="step", **setting),
        "one key view": speed(server, kind="step", views=1, **setting),
        "four key views": speed(server, kind="step", views=4, **setting),
        "half the batch": speed(server, kind="step", **half),
        "no queue": speed(server, kind="step", **{**setting, "queue": 0}),
        "mixed_bfloat16": speed(server, kind="step", policy="mixed_bfloat16", **setting),
        "other jit_compile": speed(server, kind="step", jit_compile=False, **setting),
    }
    print(table(f"{name}, {backend}: growth", rounds(candidates, count), "as above"), flush=True)


def memory(name, backends, layouts):
    """Peak memory in fresh processes, beyond what the imports take."""
    print(f"{name}: peak memory of training")
    for backend in backends:
        print(
            f"  keras_leoclr, {backend:12}{keras(backend)(kind='memory', **SETTINGS[name]) / 2**20:8.0f} MiB"
        )
    for layout in layouts:
        taken = lightly()(kind="memory", layout=layout, **SETTINGS[name])
        print(f"  lightly, {layout:17}{taken / 2**20:8.0f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, default 5")
    parser.add_argument("--backends", nargs="+", default=["tensorflow"])
    parser.add_argument("--networks", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument(
        "--parts", nargs="+", default=["peers", "parts", "growth", "memory"], help="of the benchmark"
    )
    parser.add_argument("--without-peers", action="store_true", help="leave out lightly")
    parser.add_argument(
        "--layouts",
        nargs="+",
        default=["default", "channels_last"],
        choices=["default", "channels_last", "compiled"],
        help="of lightly's modules; compiled is channels_last by torch.compile",
    )
    options = parser.parse_args()
    layouts = [] if options.without_peers else options.layouts
    for name in options.networks:
        if "peers" in options.parts:
            compare(name, options.backends, options.rounds, layouts)
        if "memory" in options.parts:
            memory(name, options.backends, layouts)
        for backend in options.backends:
            if "parts" in options.parts:
                against_its_parts(name, backend, options.rounds)
            if "growth" in options.parts:
                growth(name, backend, options.rounds)


if __name__ == "__main__":
    main()
