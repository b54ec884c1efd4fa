"""Writes `reference.json`, the numbers of a CPU that `tools/gpu_check.py` compares a GPU with.

KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=-1 python -m tools.gpu_checks.write_reference
"""

import json

import numpy as np

import keras_leoclr as kl
from tools.gpu_checks import cases, correctness


def views_of_the_host():
    """Some pixels of the views that keras-cv's layers make of the pictures of the checks."""
    images = cases.pictures(4, 40)
    views = kl.LeOCLRViews(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    made = views(images.astype("float32"), np.array([7, 0]))
    return {name: correctness.sampled(made[name]).round(4).tolist() for name in ("query", "keys")}


def main():
    found = {size.name: cases.numbers_of_five_steps(size) for size in (cases.TINY, cases.FULL)}
    found["views"] = views_of_the_host()
    cases.REFERENCE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written: {cases.REFERENCE}")


if __name__ == "__main__":
    main()
