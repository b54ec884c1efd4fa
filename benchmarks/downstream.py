"""A pretrained backbone against random weights, after the same steps of detection and segmentation.

    make downstream
    python benchmarks/downstream.py --backbone runs/quickstart [--seeds 0,1] [--only detection]

Without --dataset the pictures are those of tools/pasted_objects.py. Pretrained and random weights are given
the same architecture, order of the pictures, heads and number of steps; only the weights of the backbone that
training starts from differ. The command prints a table.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

from keras_leoclr.recipes import detection, segmentation

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tools"))
import pasted_objects

SMALL = {"image_size": 96, "width": 64, "batch_size": 16, "learning_rate": 0.05, "warmup_steps": 50}
TASKS = {
    "detection": (
        detection.run,
        dataclasses.replace(detection.RECIPE, **SMALL, first_level=2, steps=500),
        ("AP", "AP50", "AP75"),
    ),
    "segmentation": (
        segmentation.run,
        # strides 2 and 16: the backbone's own levels are 2, 4 and 8; the coarse map is 6 x 6
        dataclasses.replace(segmentation.RECIPE, **SMALL, first_level=1, steps=300, dilation_rates=(1, 2, 3)),
        ("mIoU", "pixel accuracy"),
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", required=True, help="a .keras file or the folder of a run")
    parser.add_argument("--seeds", default="0,1", help="comma-separated")
    parser.add_argument("--dataset", help="folder in VOC's format with the splits train and val")
    parser.add_argument("--only", choices=TASKS, help="one of the tasks")
    parser.add_argument("--steps", type=int, help="of training")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        dataset = given.dataset
        if dataset is None:
            dataset = str(folder / "pictures")
            pasted_objects.make(dataset, {"train": 600, "val": 200})
        starts = {
            "random": {"backbone": "random", "architecture": given.backbone},
            "pretrained": {"backbone": given.backbone},
        }
        print(
            f"| task | score, % | random | {given.backbone} | difference, seed by seed |",
            "|---|---|---|---|---|",
            sep="\n",
            flush=True,
        )
        for task in [given.only] if given.only else TASKS:
            run, recipe, shown = TASKS[task]
            scores = {name: [] for name in starts}
            started = time.monotonic()
            for seed in seeds:
                for name, start in starts.items():
                    settings = start | {"dataset": dataset, "seed": seed}
                    settings |= {"steps": given.steps} if given.steps else {}
                    settled = dataclasses.replace(recipe, **settings)
                    scores[name].append(run(settled, folder / f"{task}_{name}_{seed}", verbose=0))
            for score in shown:
                both = [[100 * one[score] for one in scores[name]] for name in starts]
                gains = [f"{after - before:+.1f}" for before, after in zip(*both, strict=True)]
                cells = [f"{statistics.mean(values):.1f}" for values in both]
                print(f"| {task} | {score} | {' | '.join(cells)} | {', '.join(gains)} |", flush=True)
            seconds = (time.monotonic() - started) / len(seeds) / len(starts)
            print(f"<!-- {task}: {seconds:.0f} s a run, {settled.steps} steps -->", flush=True)


if __name__ == "__main__":
    main()
