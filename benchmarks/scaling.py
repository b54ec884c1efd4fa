"""What distribution costs, and what a training on many GPUs will be bounded by.

    python benchmarks/scaling.py                     # a step on 1, 2 and 4 logical devices of this machine
    python benchmarks/scaling.py --plan              # ImageNet-1K on 8 and 4 x 8 GPUs, on paper

The logical devices share the same cores and the same batch, so that whatever is slower than one device is
the cost of distribution. `--plan` counts parameters and bytes of the real model; speeds are arguments.
"""

import argparse
import sys

from turns import Server, rounds, table

SETTING = {"network": "small", "size": 32, "batch": 256, "queue": 4096, "steps": 4, "kind": "step"}


def logical_devices(backend, counts, count):
    candidates = {}
    for replicas in counts:
        environment = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "REPLICAS": str(replicas)}
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={replicas}"
        server = Server("step_keras.py", sys.executable, environment)
        server(**{**SETTING, "steps": 1}, replicas=replicas)
        candidates[f"{replicas} replicas"] = lambda server=server, replicas=replicas: (
            SETTING["batch"] * server(**SETTING, replicas=replicas)
        )
    title = "{network}, {size} px, batch {batch} in all, K {queue}, ".format(**SETTING) + backend
    print(table(title, rounds(candidates, count), f"{counts[0]} replicas"), flush=True)


def plan(options):
    """Sizes of one training step, and the images that each host must deliver."""
    import keras_leoclr as kl

    model = kl.LeOCLR(kl.backbones.resnet50((224, 224, 3)), queue_size=1)
    parameters = model.query_encoder.count_params()
    dim, views, mega = model.projection_dim, 2, 2**20
    print(
        f"ResNet-50 with head: {parameters / 1e6:.1f} M parameters, {parameters * 4 / mega:.0f} MiB (float32)"
    )
    print(f"{'GPUs':>6}{'batch':>8}{'keys gathered':>16}{'gradients':>12}{'images/s per host':>20}")
    for hosts, gpus in ((1, 8), (4, 8)):
        batch = options.batch_per_gpu * gpus * hosts
        keys = batch * views * dim * 4 / mega
        speed = options.gpu_speed * gpus
        print(
            f"{hosts} x {gpus:<3}{batch:>8}{keys:>12.2f} MiB{parameters * 4 / mega:>8.0f} MiB{speed:>20.0f}"
        )
    cores = options.gpu_speed * 8 / options.core_speed
    print(f"{cores:.0f} cores for the views of a host, at {options.core_speed:.0f} images/s and core")
    print(f"\n{'K':>9}{'queue':>12}{'logits of a GPU':>18}{'epochs of keys (ImageNet-1K)':>30}")
    for queue in (4096, 65536, 2**20):
        logits = options.batch_per_gpu * queue * 4 / mega
        held = queue / views / 1_281_167
        print(f"{queue:>9}{queue * dim * 4 / mega:>8.0f} MiB{logits:>14.1f} MiB{held:>30.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, default 5")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--replicas", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--plan", action="store_true", help="print the plan instead")
    parser.add_argument("--batch-per-gpu", type=int, default=32, help="images, default 32")
    parser.add_argument("--gpu-speed", type=float, default=134.0, help="LeOCLR images/s and GPU, default 134")
    parser.add_argument("--core-speed", type=float, default=126.0, help="images/s and core, default 126")
    options = parser.parse_args()
    if options.plan:
        plan(options)
        return
    for backend in options.backends:
        logical_devices(backend, options.replicas, options.rounds)


if __name__ == "__main__":
    main()
