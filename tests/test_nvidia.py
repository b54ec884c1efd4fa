"""A GPU that is there and not used is said; errors of GPUs say what to do."""

import re
import sys
import warnings

import keras
import pytest

import keras_leoclr
from keras_leoclr import cli, nvidia
from keras_leoclr.distribution import devices
from keras_leoclr.gpu_errors import advice
from keras_leoclr.nvidia import System, nvidia_gpus, unused_gpu

H100 = System(("NVIDIA H100 80GB HBM3",), "580.65.06")
VERSION = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder)
GCC version:  gcc version 12.3.0"""
OLDER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024"


@pytest.fixture
def system(tmp_path):
    """A folder with the files of the system of a machine with two GPUs."""

    def make(device_files=True, proc=True):
        for number in range(2):
            if proc:
                folder = tmp_path / "proc/driver/nvidia/gpus" / f"0000:0{number}:00.0"
                folder.mkdir(parents=True)
                (folder / "information").write_text(
                    f"Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t {number}\n"
                )
                (tmp_path / "proc/driver/nvidia/version").write_text(VERSION)
            if device_files:
                (tmp_path / "dev").mkdir(exist_ok=True)
                for name in (f"nvidia{number}", "nvidiactl", "nvidia-uvm"):
                    (tmp_path / "dev" / name).touch()
        return tmp_path

    return make


@pytest.mark.backend_free
def test_gpus_are_found_in_the_files_of_the_system(system, tmp_path):
    assert nvidia_gpus(tmp_path) == System()
    found = nvidia_gpus(system())
    assert found == System(("NVIDIA H100 80GB HBM3",) * 2, "580.65.06", usable=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(OLDER)
    assert nvidia_gpus(tmp_path).driver == "550.54.14"


@pytest.mark.backend_free
def test_device_files_alone_and_a_container_without_them_are_told_apart(system, tmp_path):
    assert nvidia_gpus(system(proc=False)) == System(("an NVIDIA GPU",) * 2, None)
    (tmp_path / "dev/nvidia0").unlink()
    (tmp_path / "dev/nvidia1").unlink()
    assert nvidia_gpus(tmp_path) == System()
    assert not nvidia_gpus(system(device_files=False)).usable


@pytest.mark.backend_free
def test_nvidia_smi_is_asked_where_the_files_name_none(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 566.36'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert nvidia._asked() == System(("NVIDIA GeForce RTX 4090",), "566.36")
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert nvidia._asked() == System()


@pytest.fixture
def installed(monkeypatch):
    """Chooses the versions of the packages that are installed."""

    def choose(**versions):
        by_name = {name.replace("_", "-"): version for name, version in versions.items()}
        monkeypatch.setattr(nvidia, "_version_of", by_name.get)

    return choose


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("backend", "packages", "system", "environment", "words"),
    [
        ("tensorflow", {}, H100, {}, 'without CUDA, .* pip install "keras-leoclr.cuda."'),
        ("jax", {}, H100, {}, 'without CUDA, .* pip install "keras-leoclr.jax-cuda."'),
        ("torch", {"torch": "2.13.0+cpu"}, H100, {}, "without CUDA, .* --index-url https://download.pyt"),
        ("jax", {"jax_cuda13_plugin": "0.10.2"}, System(("A",), "550.54"), {}, "too old for CUDA 13.* 580"),
        ("tensorflow", {"nvidia_cudnn_cu12": "9"}, System(("A",), "470.1"), {}, "too old for CUDA 12.* 525"),
        ("torch", {"torch": "2.13.0"}, H100, {}, "installed with CUDA 13, and could not use it"),
        ("tensorflow", {}, H100, {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES hides it"),
        ("jax", {}, H100, {"JAX_PLATFORMS": "cpu"}, "JAX_PLATFORMS hides it"),
        ("tensorflow", {}, System(("A",), None, usable=False), {}, "docker run --gpus all"),
    ],
)
def test_why_a_backend_does_not_see_a_gpu(installed, backend, packages, system, environment, words):
    installed(**packages)
    said = unused_gpu(backend, system, environment)
    assert said.startswith(f"There is an NVIDIA GPU that {backend} does not see ({system.names[0]}")
    assert re.search(words, said), said
    assert unused_gpu(backend, System(), environment) is None


def test_connect_warns_of_a_gpu_that_the_backend_does_not_see(monkeypatch, installed):
    backend = keras.backend.backend()
    installed(torch="2.13.0+cpu")
    monkeypatch.setattr(nvidia, "nvidia_gpus", lambda: H100)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.warns(UserWarning, match=f"{backend} does not see .NVIDIA H100.*without CUDA"):
        devices.connect("auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # as the user wished
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        devices.connect("auto")


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="no strategy of several devices")
def test_a_strategy_of_several_devices_on_one_cpu_is_refused(monkeypatch, installed):
    installed()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        first = tf.config.list_logical_devices("CPU")[:1]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: first if kind == "CPU" else [])
        strategy = "mirrored"
    else:
        import jax

        first = jax.devices()[:1]
        monkeypatch.setattr(jax, "devices", lambda *_: first)
        strategy = "data_parallel"
    with pytest.raises(ValueError, match=f"sees no GPU: there is but one CPU .*strategy='{strategy}'"):
        devices.connect(strategy)
    monkeypatch.setattr(nvidia, "nvidia_gpus", lambda: H100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match="NVIDIA H100.*without CUDA.*pip install"):
        devices.connect(strategy)


# as TensorFlow, JAX and torch write them
MESSAGES = {
    "driver is too old": [
        "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver",
        "cudaGetDevice() failed. Status: CUDA driver version is insufficient for CUDA runtime version",
        "INTERNAL: Failed to load PTX text as a module: CUDA_ERROR_UNSUPPORTED_PTX_VERSION: unsupported",
    ],
    "holds no program for this card": [
        "CUDA error: no kernel image is available for execution on the device",
        "'cuLaunchKernel(function, gridX)' failed with 'CUDA_ERROR_INVALID_HANDLE'",
        "PTX version 8.5 does not support target 'sm_120'. Minimum required PTX version is 8.7.",
    ],
    "no memory left when the process began": [
        "INTERNAL: failed to allocate 74.2GiB from device: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "failed to create cublas handle: the resource allocation failed",
        "FAILED_PRECONDITION: DNN library initialization failed. Look at the errors above for more details.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
    "smaller --batch_size": [
        "OOM when allocating tensor with shape[256,64,112,112] and type float on GPU:0",
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4295229440 bytes.",
        "CUDA out of memory. Tried to allocate 784.00 MiB. GPU 0 has a total capacity of 79.10 GiB",
    ],
}


@pytest.mark.backend_free
@pytest.mark.parametrize(("words", "text"), [(w, text) for w, texts in MESSAGES.items() for text in texts])
def test_errors_of_gpus_say_what_to_do(words, text):
    assert words in advice(RuntimeError(text))
    wrapped = ValueError("within a step")
    wrapped.__cause__ = RuntimeError(text)
    assert words in advice(wrapped)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_an_error_in_training_has_the_advice_as_a_note():
    with pytest.raises(RuntimeError) as caught, devices.Devices().together():
        raise RuntimeError("CUDA out of memory. Tried to allocate 784.00 MiB.")
    assert "smaller --batch_size" in caught.value.__notes__[0]


@pytest.mark.backend_free
def test_other_errors_have_no_such_advice():
    assert advice(RuntimeError("something else")) is None
    assert advice(ValueError("`batch_size` must be >= 1. Received: batch_size=0")) is None


@pytest.mark.backend_free
def test_the_command_line_prints_the_advice(monkeypatch, capsys):
    def fails(arguments):
        raise RuntimeError("CUDA out of memory. Tried to allocate 784.00 MiB.\nMore of it")

    monkeypatch.setattr(cli, "command_of", lambda name: fails)
    assert cli.main(["leoclr", "pretrain"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "leoclr: RuntimeError: CUDA out of memory. Tried to allocate 784.00 MiB."
    assert "smaller --batch_size" in second


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's memory")
def test_tensorflow_takes_memory_as_it_needs_it(monkeypatch):
    from keras_leoclr import tensorflow_host

    asked = []
    config = tensorflow_host.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(config.experimental, "set_memory_growth", lambda gpu, on: asked.append((gpu, on)))
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    tensorflow_host._take_memory_as_needed()
    assert asked == [("GPU:0", True), ("GPU:1", True)]
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    tensorflow_host._take_memory_as_needed()
    assert len(asked) == 2

    def in_use(gpu, on):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH")
    monkeypatch.setattr(config.experimental, "set_memory_growth", in_use)
    tensorflow_host._take_memory_as_needed()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's devices")
def test_the_counter_of_passes_lies_on_the_host_wherever_a_data_set_is_made():
    import tensorflow as tf

    import keras_leoclr as kl
    from tests.case import random_images

    with tf.device("CPU:1"):  # a second device stands for a GPU
        source = kl.data.load({"image": random_images(8)})
        dataset = kl.data.view_dataset(source, kl.LeOCLRViews(image_size=8), batch_size=4)
    assert dataset.passes.device.endswith("CPU:0")


@pytest.mark.backend_free
def test_tensorflow_logs_errors_of_devices_only_where_there_is_a_gpu(monkeypatch):
    for system, level in ((System(), "3"), (System(("T4",)), "2")):
        own = {"TF_CPP_MIN_LOG_LEVEL": "2"}
        nvidia.quieten_tensorflow(system, own)
        assert own == {"TF_CPP_MIN_LOG_LEVEL": level}
    for set_by_us, calls in ((True, 1), (False, 0)):
        called = []
        monkeypatch.setattr(keras_leoclr, "_own_log_level", set_by_us)
        monkeypatch.setattr(nvidia, "quieten_tensorflow", lambda called=called: called.append(1))
        assert cli.main(["leoclr", "recipes", "x"]) == 2 and len(called) == calls
