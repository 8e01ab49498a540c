"""Settings and fixtures that the tests share. Nothing that a test generates lands in the checkout."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("FT_WORKDIR", tempfile.mkdtemp(prefix="ft-tests-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded; tiny models are slower on more


@pytest.fixture(scope="module")
def solver() -> Iterator:
    """A solver with the default limits; its worker processes end with the test file."""
    from scripts.asp.solver import Solver

    with Solver() as pool:
        yield pool


@pytest.fixture(scope="session")
def problems() -> list:
    """All problems of the shipped collection, by name."""
    from scripts.data.problems import read_problems

    return read_problems()


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the smoke model. It is shared by all tests: do not write into it."""
    from scripts.lm.smoke_model import smoke_model

    return smoke_model(tmp_path_factory.mktemp("models") / "smoke")


@pytest.fixture
def copy_of_smoke(smoke: Path, tmp_path: Path) -> Path:
    """A folder of the smoke model that a test may change."""
    import shutil

    return Path(shutil.copytree(smoke, tmp_path / "smoke"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch: the smoke model is slower on two.

    A test file uses it with `pytestmark = pytest.mark.usefixtures("one_thread")`.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
