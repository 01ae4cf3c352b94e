"""What all tests share: one thread, no ALE banner, runs in a folder of their own."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from spl.agents.config import TrainAgentConfig
from spl.agents.train import train_agent
from spl.classify.config import ALIASES, TrainClassifierConfig
from spl.config import parse as config

ROOT = Path(__file__).parent.parent


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``NO_SKIPS`` set, fail where a test was skipped for any reason but no GPU, or being root."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") and reporter is not None:
        reasons = {str(report.longrepr) for report in reporter.stats.get("skipped", [])}
        unexpected = sorted(reason for reason in reasons if not re.search("no GPU|root reads", reason))
        if unexpected:
            reporter.write_line("NO_SKIPS: skipped all the same: " + "; ".join(unexpected), red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure() -> None:
    """Wait for no disk, which took a tenth of the time: what a test writes need not outlast a power cut."""
    os.fsync = lambda _: None


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory):
    """Return a trainer of tiny agents on Beacon, ``tiny_run(num_rounds)``; it returns the run directory."""

    def train(num_rounds: int, command: list[str] | None = None, *, options: tuple[str, ...] = ()) -> Path:
        words = ["--config", str(ROOT / "configs/smoke/agent.yaml"), "--num_steps", "44"]
        words += ["--runs", str(tmp_path_factory.mktemp("runs")), "--num_threads", "1", "--device", "cpu"]
        words += ["--env.kwargs.num_rounds", str(num_rounds)]
        described = config.parse(TrainAgentConfig, [*words, *options], prog="spl")
        return train_agent(described, console=Console(quiet=True), command=command).folder

    return train


@pytest.fixture
def smoke(tmp_path: Path):
    """Return a maker of tiny run configurations, ``smoke("--a.b", "value")``, with runs in ``tmp_path``."""

    def make(*argv: str, name: str = "agent") -> TrainAgentConfig:
        file = ROOT / "configs" / "smoke" / f"{name}.yaml"
        fixed = [
            "--config",
            str(file),
            "--runs",
            str(tmp_path / "runs"),
            "--num_threads",
            "1",
            "--device",
            "cpu",
        ]
        return config.parse(TrainAgentConfig, [*fixed, *argv], prog="spl", aliases={"env": "env.id"})

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of 24 small photographs in three classes that differ in colour, with some noise."""
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = generator.integers(0, 120, (20, 24, 3))
            pixels[..., channel] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def tiny(pictures: Path, tmp_path: Path):
    """Return a maker of classifier configurations that train on `pictures` in a second or two."""

    def make(*argv: str) -> TrainClassifierConfig:
        fixed = {
            "data.name": "folder",
            "data.root": str(pictures),
            "data.image_size": "16",
            "data.test_share": "0.25",
            "recipe.epochs": "2",
            "recipe.batch_size": "6",
            "recipe.learning_rate": "0.05",
            "num_threads": "1",
            "device": "cpu",
            "runs": str(tmp_path / "runs"),
        }
        words = [word for key, value in fixed.items() for word in (f"--{key}", value)]
        return config.parse(TrainClassifierConfig, [*words, *argv], prog="spl", aliases=ALIASES)

    return make
