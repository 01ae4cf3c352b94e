"""What all tests share: one thread, no ALE banner, runs in a folder of their own."""

from pathlib import Path

import pytest
import torch

from spl import config
from spl.agents.run import TrainAgentConfig

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
