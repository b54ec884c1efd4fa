"""The checks that `tools/gpu_check.py` runs in one process per backend, JAX and torch, without TensorFlow."""
