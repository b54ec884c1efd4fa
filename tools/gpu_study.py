r"""Compares LeOCLR with MoCo v2 on a GPU, with the settings of a recipe, on JAX or torch, without TensorFlow.

    python tools/gpu_study.py cifar10 --pictures cifar10.tar.xz --epochs 50 \
        --workdir runs/gpu_cifar10
    python tools/gpu_study.py imagenette --pictures imagenette.tar.xz --image_size 96 \
        --epochs 100 --seeds 0 1 --workdir runs/gpu_imagenette

It is for machines where TensorFlow, which reads the images of `leoclr pretrain`, cannot be installed; see
`tools/gpu_check.py` for the packages that it needs. The pictures, `train/CLASS/NAME` and `test/CLASS/NAME`,
are of one size and stay in memory, and the views are made within the training step. Features are those of
originals in float32, judged by the library's evaluators. Each run adds its lines to WORKDIR/results.jsonl, as
`leoclr ablate method` does, and the same command leaves out runs that are there. Several processes may share
a folder, for example one for each method. `leoclr report WORKDIR` shows the results.
"""

import argparse
import os
import pathlib
import shlex
import sys

ROOT = pathlib.Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    no_recipes = ("__init__", "detection", "segmentation")
    known = sorted(path.stem for path in (ROOT / "recipes").glob("*.py") if path.stem not in no_recipes)
    parser.add_argument("recipe", choices=known, metavar="recipe", help="name of a recipe, such as cifar10")
    parser.add_argument("--pictures", type=pathlib.Path, required=True, help="folder or tar archive")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="for results.jsonl")
    parser.add_argument("--backend", choices=["jax", "torch"], default="jax", help="jax by default")
    parser.add_argument("--epochs", type=int, help="by default those of the recipe")
    parser.add_argument("--image_size", type=int, help="pixels; by default that of the recipe")
    parser.add_argument("--preset", default="", help="preset of the recipe")
    parser.add_argument("--precision", default="mixed_bfloat16", help="as in `leoclr pretrain`")
    parser.add_argument("--only", default="", help="text in the names of the variants that are run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="0 by default")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    sys.path.insert(0, str(ROOT))  # The library need not be installed.
    # Keras reads the backend when it is imported, and `alone` is imported before the library.
    from tools.gpu_checks import alone, study  # noqa: F401

    study.study(options, f"python tools/gpu_study.py {shlex.join(sys.argv[1:])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
