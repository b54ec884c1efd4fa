"""Fair turns: candidates run one after the other, several times, and ratios are taken within a round."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable

PEERS_PYTHON = pathlib.Path(__file__).parents[1] / ".venv-interop" / "bin" / "python"


class Server:
    """A script in a process of its own that answers a line of JSON with a line of JSON.

    Args:
        script: file in this folder.
        python: interpreter.
        environment: variables in addition to those of this process.
    """

    def __init__(self, script: str, python: str | pathlib.Path, environment: dict[str, str]):
        if not pathlib.Path(python).is_file():
            raise SystemExit(
                "lightly and torchvision are missing: `make .venv-interop/.done`, or `--without-peers`."
            )
        self.script = script
        self.process = subprocess.Popen(
            [python, "-W", "ignore", pathlib.Path(__file__).with_name(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The process of {self.script} ended; run it by hand to see why.")
        return json.loads(line)

    def __call__(self, **request) -> float:
        """Sends a request and waits for the answer."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def __del__(self):
        if hasattr(self, "process"):
            self.process.kill()


def peers() -> Server:
    """The process of `peers.py`: images/s, see `peers.images_per_second`."""
    return Server("peers.py", PEERS_PYTHON, {"CUDA_VISIBLE_DEVICES": ""})


def answer(kinds: dict[str, Callable[..., float]]) -> None:
    """The other side of a `Server`: calls the function that a request names as its `kind`."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(kinds[request.pop("kind")](**request)), flush=True)


def peak_memory_of(work: Callable[[], object]) -> int:
    """Bytes that `work` needs at most beyond what this process, a new one, has taken before."""
    before = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def rounds(candidates: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Speeds of each candidate, one per round; the order alternates from round to round."""
    speeds = {name: [] for name in candidates}
    for number in range(count):
        names = list(candidates)
        for name in names if number % 2 == 0 else reversed(names):
            speeds[name].append(candidates[name]())
    return speeds


def table(title: str, speeds: dict[str, list[float]], ours: str) -> str:
    """Median speed of each, and the median over the rounds of ours / theirs with its range."""
    lines = [title]
    for name, values in speeds.items():
        line = f"  {name:44}{statistics.median(values):10.0f} images/s"
        if name != ours:
            ratios = [a / b for a, b in zip(speeds[ours], values, strict=True)]
            line += (
                f"   ours / this: {statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        lines.append(line)
    return "\n".join(lines)
