"""Checkpoint files."""

import resource

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_leoclr.runs import checkpoint_file

pytestmark = pytest.mark.backend_free


def some_arrays():
    rng = np.random.default_rng(0)
    return {
        "float": rng.standard_normal((3, 4)).astype("float32"),
        "bfloat16": rng.standard_normal(5).astype(ml_dtypes.bfloat16),
        "number": np.asarray(7, "int32"),
        "none": np.zeros((0,), "uint8"),
        "states": rng.integers(0, 2**32, 6, dtype="uint32"),
        "flags": np.array([True, False]),
    }


def test_a_checkpoint_gives_back_every_bit_and_is_a_safetensors_file(tmp_path):
    path = tmp_path / "a.safetensors"
    state = {"position": [3, 1], "value": 0.1, "words": "ä"}
    checkpoint_file.write(path, some_arrays(), state)
    arrays, restored = checkpoint_file.read(path)
    assert restored == state == checkpoint_file.read_state(path)
    foreign = safetensors.numpy.load_file(path)
    for name, expected in some_arrays().items():
        assert arrays[name].dtype == expected.dtype and arrays[name].shape == expected.shape
        assert arrays[name].tobytes() == expected.tobytes() == foreign[name].tobytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint_file.write(path, some_arrays(), {"position": [0, 0]})
    whole = path.read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        damaged.append(bytes(changed))
    for content in [*damaged, whole + b"\0", b""]:
        path.write_bytes(content)
        with pytest.raises(checkpoint_file.DamagedCheckpointError):
            checkpoint_file.read(path)
    path.write_bytes(whole)
    checkpoint_file.read(path)


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint_file.write(path, some_arrays(), {"version": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=f"File too large.*{path.name}"):
            checkpoint_file.write(path, {"large": np.zeros(100_000)}, {"version": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint_file.read(path)[1] == {"version": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_process_that_dies_while_it_writes_leaves_the_checkpoint_before(tmp_path, monkeypatch, moment):
    """What a kill leaves: nothing of the new file, or the new file whole."""
    path = tmp_path / "a.safetensors"
    checkpoint_file.write(path, some_arrays(), {"version": 1})

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    if moment == "write":
        monkeypatch.setattr(checkpoint_file.hashlib, "sha256", die)
    else:
        monkeypatch.setattr(checkpoint_file.os, moment, die)
    with pytest.raises(Killed):
        checkpoint_file.write(path, some_arrays(), {"version": 2})
    monkeypatch.undo()
    assert checkpoint_file.read(path)[1] == {"version": 1}
