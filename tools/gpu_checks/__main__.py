"""Runs the checks of one backend: `python -m tools.gpu_checks`, which `tools/gpu_check.py` starts.

It prints a line of JSON for each check: number, title, whether it passed (null if it was left out), a text
and figures.
"""

import argparse
import json
import time
import traceback

from tools.gpu_checks import (  # `alone` comes first.
    alone,  # noqa: F401
    cases,
    correctness,
    speed,
    training,
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--only", type=int, nargs="*", default=[])
    parser.add_argument("--cifar10", default=None)
    options = parser.parse_args()
    size = cases.TINY if options.tiny else cases.FULL
    ends = time.monotonic() + options.seconds

    def left():
        return ends - time.monotonic()

    checks = {
        1: ("versions and device", lambda: correctness.versions(size)),
        2: ("five steps against a CPU", lambda: correctness.five_steps(size)),
        3: ("fast kernels against stock layers", lambda: correctness.kernels(size)),
        8: ("exact resume", lambda: correctness.resume(size)),
        7: ("views on the device", lambda: correctness.views_on_the_device(size)),
        6: ("launches of a step", lambda: speed.launches(size)),
        4: ("speed and memory of a step", lambda: speed.steps(size, left)),
        9: ("training, views on the device", lambda: training.train(size, left, options.cifar10)),
    }
    for number, (title, check) in checks.items():
        if options.only and number not in options.only:
            continue
        started = time.monotonic()
        try:
            fine, text, figures = check()
        except Exception as error:
            traceback.print_exc()
            fine, text, figures = False, f"{type(error).__name__}: {error}".splitlines()[0], {}
        line = {"check": number, "title": title, "fine": fine, "text": text, "figures": figures}
        print(json.dumps(line | {"seconds": round(time.monotonic() - started, 1)}), flush=True)


if __name__ == "__main__":
    main()
