"""What the tests of sources share: a cache of their own and a folder of pictures."""

import collections
import functools
import os

import pytest

from keras_leoclr.data.readers import files
from tests.own_data_set import prepare
from tests.pictures import jpeg
from tests.sources import flat, write


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Counts the headers that are read."""
    calls = collections.Counter()
    read = files.read_header

    def count(file, *arguments):
        calls[os.path.basename(os.fsdecode(file.name))] += 1
        return read(file, *arguments)

    monkeypatch.setattr(files, "read_header", count)
    return calls


@pytest.fixture(scope="session")
def own_data_set(tmp_path_factory):
    """Where the data set `tfds:own` lies, by the format of its files; each is written once."""
    return functools.cache(lambda kind: prepare(tmp_path_factory.mktemp(kind), kind))


@pytest.fixture
def many(tmp_path):
    """100 PNGs in 4 classes, each of the colour of its number."""
    return write(tmp_path / "many", **{f"class{n % 4}__{n}": flat(n) for n in range(100)})


@pytest.fixture
def with_bad(many, tmp_path):
    """102 files: one is empty, one is cut off within its pixels."""
    (many / "class0" / "empty.jpg").write_bytes(b"")
    (many / "class1" / "cut.jpg").write_bytes(jpeg(height=200, width=200)[:-400])
    return many
