"""The suite runs once per backend: `KERAS_BACKEND=jax pytest`."""

import atexit
import os
import shutil
import sys
import tempfile

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# Many tests compile the same small step: within a session JAX compiles it once.
JAX_CACHE = tempfile.mkdtemp(prefix="keras_leoclr_jax_")
atexit.register(shutil.rmtree, JAX_CACHE, ignore_errors=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", JAX_CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

REPLICAS = os.environ.get("REPLICAS", "2")
# devices for the tests of replicas, before anything touches the one that there is
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={REPLICAS}"
    # the suite compiles much and computes little: 0.6 of the time on JAX
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

# One thread each where two processes share two cores: their pools would wait for each other.
PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
if PARALLEL:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

if PARALLEL:
    tf.config.threading.set_intra_op_parallelism_threads(1)

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * int(REPLICAS)
)


@pytest.fixture(autouse=True)
def same_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def one_torch_thread():
    """For so small a network torch's threads gain nothing, and on busy cores they wait for each other."""
    torch = sys.modules.get("torch")  # the backend, or a reference that a test computes with
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
