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
    from scripts.data.problems import read_collection

    return read_collection().problems


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


@pytest.fixture(scope="session")
def realistic_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke model with a rotary base and with generation settings of its own, as real models have them.

    It is shared by all tests: do not write into it.
    """
    import json

    from scripts.lm.smoke_model import smoke_model

    folder = smoke_model(tmp_path_factory.mktemp("models") / "realistic")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500000.0
    (folder / "config.json").write_text(json.dumps(config))
    settings = {"eos_token_id": 0, "bos_token_id": 0, "temperature": 0.6, "top_p": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def colouring_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with nine training and three validation rows. Do not write into it."""
    from tests.examples import colouring_row, write_rows

    train, valid = (
        [colouring_row(number, steps=1 + number % 3) for number in numbers]
        for numbers in (range(9), range(20, 23))
    )
    return write_rows(tmp_path_factory.mktemp("data"), train=train, valid=valid)


@pytest.fixture(scope="session")
def pytorch_run(realistic_base: Path, colouring_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished PyTorch run: twelve training steps with dropout, noise and a 4-bit base."""
    from scripts.training.pytorch_engine import train
    from scripts.training.run import RunOptions
    from tests.training.recipes import RECIPE

    folder = tmp_path_factory.mktemp("pytorch") / "run"
    train(str(realistic_base), RECIPE, colouring_data, options=RunOptions(folder=folder))
    return folder


@pytest.fixture(scope="session")
def mlx_run(realistic_base: Path, colouring_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished MLX run: four training steps in bfloat16 with dropout and noise."""
    pytest.importorskip("mlx_lm", reason="MLX exists for Apple silicon and Linux only")
    from scripts.training.mlx_engine import MlxSettings, train
    from scripts.training.run import RunOptions
    from tests.training.mlx_models import RECIPE

    folder = tmp_path_factory.mktemp("mlx") / "run"
    settings, options = MlxSettings(dtype="bfloat16"), RunOptions(folder=folder)
    train(str(realistic_base), RECIPE, colouring_data, settings=settings, options=options)
    return folder
