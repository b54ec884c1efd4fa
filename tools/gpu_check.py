"""Checks a machine with a GPU: is this library right and fast there, on JAX and on torch?

    python tools/gpu_check.py                     # plans for 10 minutes
    python tools/gpu_check.py --minutes 20        # more epochs of the training at the end
    python tools/gpu_check.py --tiny              # on a CPU, small networks: the check checks itself

It needs no TensorFlow and no installation: run it from the folder of the repository. JAX and torch with CUDA
are needed, and keras, namex and optree. Where there is no network, bring these three as wheels:

    pip download keras namex optree --no-deps --only-binary=:all: --dest wheels     # where there is one
    pip install --no-index --no-deps --find-links wheels keras namex optree         # on the machine

The checks of correctness run first, those of all backends at the same time, since they spend most of it
compiling on the CPU; then speed, one backend after the other, and then the trainings. A table stands at the
end, everything as JSON in `--output`, and the exit status is 1 where a check failed. Checks:

1 versions and device; 2 five steps of ResNet-18 against numbers of a CPU; 3 the faster kernels against stock
layers; 4 and 5 images/s and peak memory of a step of ResNet-50 beside plain torch; 6 launches, stops and
copies of a step; 7 views on the device against those of the host; 8 a resumed run is the same to the bit;
9 CIFAR-10, if it is in `shared/data`, else bundled pictures: LeOCLR and MoCo v2, kNN after each epoch.

The numbers of a CPU are in tools/gpu_checks/reference.json, written by
`KERAS_BACKEND=tensorflow python -m tools.gpu_checks.write_reference`.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
# These are set before a backend is loaded, so that a resumed run gives the same bits.
DETERMINISTIC = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
# Checks that run in one process each, in this order; what is measured alone comes after what is not.
RESUME, CORRECT, SPEED, TRAINING = (8,), (1, 2, 3, 6), (7, 4), (9,)
SHORTEST = 30.0  # seconds that a check of speed or training gets at least


def checks_of(backend, numbers, seconds, options, environment=None):
    """Runs the checks of one backend in a process and returns their results."""
    command = [sys.executable, "-W", "ignore", "-m", "tools.gpu_checks", "--seconds", str(seconds)]
    command += ["--tiny"] if options.tiny else []
    command += ["--cifar10", options.cifar10] if options.cifar10 else []
    command += ["--only", *map(str, numbers)]
    own = {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **own, **(environment or {})}
    )
    found = []
    for line in process.stdout:
        if line.startswith('{"check"'):
            found.append({"backend": backend, **json.loads(line)})
            print(row_of(found[-1]), flush=True)
    if process.wait():
        text = f"the process ended with status {process.returncode}"
        found.append({"backend": backend, "check": 0, "title": "process", "fine": False, "text": text})
    return found


def row_of(result):
    state = {True: "ok", False: "FAILED", None: "left out"}[result["fine"]]
    return f"{result['backend']:6} {result['check']}  {result['title']:34} {state:9} {result['text']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small networks; on a CPU")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all checks, default 10")
    parser.add_argument("--backends", nargs="+", default=["jax", "torch"], choices=["jax", "torch"])
    known = sorted((*RESUME, *CORRECT, *SPEED, *TRAINING))
    parser.add_argument(
        "--only", type=int, nargs="+", default=[], choices=known, help="numbers of checks; 4 is 4 and 5"
    )
    parser.add_argument("--cifar10", help="folder or archive of CIFAR-10 as JPEG files")
    parser.add_argument("--output", default="gpu_check.json", help="file of all results")
    options = parser.parse_args()
    ends, count = time.monotonic() + 60 * options.minutes, len(options.backends)

    def run(backend, numbers, seconds, environment=None):
        chosen = [number for number in numbers if number in (options.only or numbers)]
        return checks_of(backend, chosen, seconds, options, environment) if chosen else []

    with concurrent.futures.ThreadPoolExecutor(2 * count) as pool:
        going = []
        for backend in options.backends:
            going.append(pool.submit(run, backend, RESUME, 60 * options.minutes, DETERMINISTIC))
            going.append(pool.submit(run, backend, CORRECT, 60 * options.minutes))
        results = [result for future in going for result in future.result()]
    for number, (numbers, backend) in enumerate(itertools.product((SPEED, TRAINING), options.backends)):
        left = (ends - time.monotonic()) / (2 * count - number)
        results += run(backend, numbers, max(left, SHORTEST))
    pathlib.Path(options.output).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\nbackend check" + " " * 30 + "result")
    for result in sorted(results, key=lambda result: (result["backend"], result["check"])):
        print(row_of(result))
    failed = [result for result in results if result["fine"] is False]
    print(f"\n{len(results) - len(failed)} of {len(results)} did not fail; everything is in {options.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
