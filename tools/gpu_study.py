r"""Compares LeOCLR with MoCo v2 on a GPU, with the settings of a recipe, on JAX or torch, without TensorFlow.

    KERAS_BACKEND=jax python -m tools.gpu_study cifar10 --pictures cifar10.tar.xz --epochs 50 \
        --workdir runs/gpu_cifar10
    KERAS_BACKEND=jax python -m tools.gpu_study imagenette --pictures imagenette.tar.xz --image_size 96 \
        --epochs 100 --seeds 0 1 --workdir runs/gpu_imagenette

It is for machines where TensorFlow, which reads the images of `leoclr pretrain`, cannot be installed; see
`tools/gpu_check.py` for the packages that it needs. The pictures, `train/CLASS/NAME` and `test/CLASS/NAME`,
are of one size and stay in memory, and the views are made within the training step. Features are those of
originals in float32, judged by the library's evaluators. Each run adds its lines to WORKDIR/results.jsonl, as
`leoclr ablate method` does, and the same command leaves out runs that are there. Several processes may share
a folder, for example one for each method. `leoclr report WORKDIR` shows the results.
"""

import sys

from tools.gpu_checks import (  # `alone` comes first.
    alone,  # noqa: F401
    study,
)

if __name__ == "__main__":
    sys.exit(study.main(__doc__))
