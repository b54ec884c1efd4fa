"""What `tools/gpu_check.py` runs in one process per backend, on JAX and on torch, without TensorFlow."""
