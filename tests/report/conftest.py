"""A run that was never trained, for all tests of the report."""

import shutil

import pytest

from tests.report.report_run import write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A folder that tests must leave as it is."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", resumed=[(2, 5)])


@pytest.fixture
def copy(run, tmp_path):
    """A folder that a test may change."""
    return shutil.copytree(run, tmp_path / "copy")
