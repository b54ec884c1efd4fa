"""What a run survives: real processes are killed, starved of disk and memory, and lied to.

    python benchmarks/faults.py                              # all of it, 10 to 20 minutes
    KERAS_BACKEND=jax python benchmarks/faults.py --kills 4 --only kill --epochs 15

All runs have the same settings and `--deterministic`, so that each must end like the one that nothing
happened to. Compared are every bit of the last checkpoint (weights, BatchNorm, queue, optimizer, metrics,
random states), of `history.csv` without times, and `results.jsonl` but for its lines "speed/...". Prints a
table and puts its rows into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from keras_leoclr.callbacks.history_file import without_times
from keras_leoclr.runs import checkpoint_file, checkpoint_paths
from keras_leoclr.runs.files import PARTIAL
from keras_leoclr.runs.folder import RunFolder

ROOT = pathlib.Path(__file__).parents[1]
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
MAIN = "import sys; from keras_leoclr.cli import main; sys.exit(main())"
SETTINGS = (
    "--preset smoke --noevaluate --image_size 16 --widths 8,16 --max_images 256 --knn_every 5 "
    "--knn_bank 60 --knn_queries 30 --verbose 0 --deterministic --checkpoint_minutes 0 --checkpoint_budget 1"
).split()


class Process:
    """A run in a process of its own."""

    def __init__(self, workdir, before="", *arguments):
        self.workdir = workdir
        self.seen = set(checkpoints_in(workdir))
        command = [sys.executable, "-c", before + MAIN, "pretrain", "fashion_mnist"]
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [*command, "--workdir", workdir, *SETTINGS, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            cwd=ROOT,
            env=os.environ,
        )

    def wait_for(self, condition, seconds=300):
        """Until something can be seen; False if the process ended before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.0005)
        raise TimeoutError("nothing happens")

    def training(self, steps=1):
        """Waits until so many checkpoints of this process are there."""
        newest = max((step_of(path) for path in self.seen), default=-1)

        def condition():
            found = checkpoints_in(self.workdir)
            return bool(found) and step_of(found[-1]) >= newest + steps

        return self.wait_for(condition)

    def writing(self):
        """Waits until a checkpoint is being written."""
        folder = RunFolder(self.workdir).checkpoints
        return self.wait_for(lambda: any(folder.glob(f"*{PARTIAL}")))

    def kill(self):
        self.process.kill()
        return self.end()

    def end(self):
        """Exit status and what was printed as error."""
        code = self.process.wait(timeout=600)
        self.errors.seek(0)
        return code, self.errors.read()


def checkpoints_in(workdir):
    return checkpoint_paths.paths(RunFolder(workdir).checkpoints)


def step_of(path):
    return int(re.search(r"step-(\d+)", path.name)[1])


def finish(workdir):
    """Runs to the end; dies with what the run said, if it does not."""
    code, error = Process(workdir).end()
    if code:
        raise SystemExit(f"The run in {workdir} was not resumed (exit status {code}):\n{error[-3000:]}")


def result(workdir):
    """All that must be the same, as {name: bytes}."""
    arrays, state = checkpoint_file.read(checkpoints_in(workdir)[-1])
    parts = {name: array.tobytes() for name, array in arrays.items() if not name.startswith("file/")}
    parts["state"] = json.dumps({k: v for k, v in state.items() if k != "stateful"}).encode()
    run = RunFolder(workdir)
    parts[run.history_file.name] = json.dumps(without_times(run.history_file)).encode()
    lines = run.results_file.read_text().splitlines()
    kept = [line for line in lines if not json.loads(line)["name"].startswith(("speed/", "health/starved"))]
    parts[run.results_file.name] = "\n".join(kept).encode()
    return parts


def bits_lost(workdir, reference):
    mine = result(workdir)
    if mine.keys() != reference.keys():
        return 8 * sum(map(len, reference.values()))
    lost = 0
    for name, expected in reference.items():
        actual = mine[name]
        size = min(len(actual), len(expected))
        difference = np.frombuffer(actual[:size], np.uint8) ^ np.frombuffer(expected[:size], np.uint8)
        lost += int(np.unpackbits(difference).sum()) + 8 * abs(len(actual) - len(expected))
        if actual != expected:
            print(f"    differs: {name}")
    return lost


# === Faults: each yields (name, injected, resumed) and leaves a run that is finished ===


def kill(workdir, rng, kills):
    """SIGKILL again and again: at start, in training, while a checkpoint is written."""
    resumed = 0
    for number in range(kills):
        process = Process(workdir)
        before = len(process.seen)
        kind = ("training", "training", "writing", "start")[number % 4]
        if kind == "start":
            time.sleep(rng.uniform(0, 12))
        else:
            process.training()
            time.sleep(rng.uniform(0, 1.0))
            if kind == "writing":
                process.writing()
        code, error = process.kill()
        steps = [step_of(path) for path in checkpoints_in(workdir)]
        print(f"  kill {number + 1}: {kind}, status {code}, checkpoints {steps}", flush=True)
        if code != -signal.SIGKILL:
            raise SystemExit(f"The run ended by itself with {code}:\n{error[-3000:]}")
        resumed += not before or "Traceback" not in error
    finish(workdir)
    return f"SIGKILL at {kills} random moments, one run", kills, resumed


def sigterm_and_sigint(workdir, rng, kills):
    """The step is finished, a checkpoint written, the exit status 128 + n; a second one ends at once."""
    good = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process = Process(workdir)
        process.training(3)
        process.process.send_signal(number)
        code, error = process.end()
        good += code == 128 + number and "stopping after this step" in error
    process = Process(workdir)
    process.training(3)
    for _ in range(2):
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    good += process.end()[0] in (143, -signal.SIGTERM)
    finish(workdir)
    return "SIGTERM, SIGINT, two at once", 3, good


def file_size_limit(workdir, rng, kills):
    """In the middle of the run no file may grow beyond 100 kB, so that no checkpoint fits."""
    process = Process(workdir)
    process.training(5)
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    code, error = process.end()
    good = code == 1 and "could not be written" in error and "is whole" in error
    finish(workdir)
    return "file-size limit (EFBIG) in the middle", 1, int(good)


def small_disk(workdir, rng, kills):
    """A disk of 900 kB is full after a few checkpoints; and one that is read-only."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", workdir]
    workdir.mkdir()
    if subprocess.run(mount, capture_output=True).returncode:
        print("  skipped: only root may mount")
        finish(workdir)
        return "disk full, read-only disk (skipped: not root)", 0, 0

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", workdir], check=True)

    try:
        code, error = Process(workdir).end()
        good = code == 1 and "No space left" in error and "is whole" in error
        remount("size=20m,ro")
        code, error = Process(workdir).end()
        good += code == 1 and "Read-only file system" in error
        remount("size=20m,rw")
        finish(workdir)
        shutil.copytree(workdir, workdir.with_name("copy"))
    finally:
        subprocess.run(["umount", workdir], check=True)
    workdir.rmdir()
    workdir.with_name("copy").rename(workdir)
    return "disk full (ENOSPC), read-only disk", 2, int(good)


def damaged_checkpoint(workdir, rng, kills):
    """The newest checkpoint is cut at every tenth of its length, or has a flipped bit anywhere."""
    process = Process(workdir)
    process.training(20)
    process.kill()
    *_, before, newest = checkpoints_in(workdir)
    whole = newest.read_bytes()
    cuts = [whole[: len(whole) * tenth // 10] for tenth in range(10)]
    flips = []
    for place in [*(rng.randrange(len(whole)) for _ in range(8)), 0, 20]:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        flips.append(bytes(changed))
    found = 0
    for content in [*cuts, *flips]:
        newest.write_bytes(content)
        try:
            checkpoint_file.read(newest)
        except checkpoint_file.DamagedCheckpointError:
            found += 1
    process = Process(workdir)  # the last of them is still there
    process.training(3)
    _, error = process.kill()
    if newest.name not in error or "is damaged" not in error or not before.name:
        raise SystemExit(f"Nothing was said of the damage:\n{error[-3000:]}")
    finish(workdir)
    return "newest checkpoint cut at each tenth, 10 flipped bits", 20, found


def clock(workdir, rng, kills):
    """After a kill, the clock is 300 days back, and the files are from the future."""
    process = Process(workdir)
    process.training(10)
    process.kill()
    for path in workdir.rglob("*"):
        os.utime(path, (4e9, 4e9))
    back = "import time; real = time.time; time.time = lambda: real() - 300 * 86400; "
    process = Process(workdir, back)
    good = process.training(3)
    process.kill()
    finish(workdir)
    return "clock set back 300 days", 1, int(good)


def two_at_once(workdir, rng, kills):
    """A second process is refused and told which one runs; the first does not notice."""
    first = Process(workdir)
    first.training()
    second = Process(workdir)
    code, error = second.end()
    good = code == 1 and f"process {first.process.pid} on" in error
    first.end()
    finish(workdir)
    return "two runs at once", 1, int(good)


def out_of_memory(workdir, rng, kills):
    """A step in the middle of an epoch raises what TensorFlow raises then."""
    before = (
        "import tensorflow as tf; from keras_leoclr.callbacks import Health\n"
        "def fail(self, batch, logs=None):\n"
        "    if self.epoch == 3 and batch == 4:\n"
        "        raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor')\n"
        "Health.on_train_batch_end = fail\n"
    )
    code, error = Process(workdir, before).end()
    good = code != 0 and "OOM when allocating" in error
    finish(workdir)
    return "out of memory in the middle of an epoch", 1, int(good)


FAULTS = {
    "kill": kill,
    "signal": sigterm_and_sigint,
    "limit": file_size_limit,
    "disk": small_disk,
    "damage": damaged_checkpoint,
    "clock": clock,
    "two": two_at_once,
    "memory": out_of_memory,
}


def refresh(rows):
    """Puts rows into the table of docs/reliability.md, in place of those with the same name and backend."""
    path = ROOT / "docs" / "reliability.md"
    text = path.read_text()
    start, end = text.index("<!-- faults -->"), text.index("<!-- /faults -->")
    known = re.findall(r"^\| ([^|]+) \| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", text[start:end], re.M)
    table = {(fault, backend): (fault, backend, *numbers) for fault, backend, *numbers in known}
    table |= {(row[0], row[1]): row for row in rows}
    lines = ["| fault | backend | injected | survived | bits lost |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.values()]
    path.write_text(text[:start] + "<!-- faults -->\n" + "\n".join(lines) + "\n" + text[end:])
    print("\n" + "\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--epochs", type=int, default=40, help="of a run, 8 steps each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    SETTINGS.extend(["--epochs", str(options.epochs)])
    rng = random.Random(options.seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="keras_leoclr_faults_") as folder:
        folder = pathlib.Path(folder)
        print("the run that nothing happens to", flush=True)
        finish(folder / "reference")
        reference = result(folder / "reference")
        for name in options.only:
            print(name, flush=True)
            fault, injected, survived = FAULTS[name](folder / name, rng, options.kills)
            rows.append((fault, BACKEND, injected, survived, bits_lost(folder / name, reference)))
            print(f"  {rows[-1]}", flush=True)
            refresh(rows)
    return 0 if all(row[2] == row[3] and row[4] == 0 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
