"""The short form of ``scripts/checks/kill_and_resume.py``: SIGKILL at random moments, real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_the_one_left_alone():
    options = ["--config", "configs/smoke/agent.yaml", "--num_steps", "150", "--checkpoint_every_steps", "30"]
    command = [sys.executable, "scripts/checks/kill_and_resume.py", "--kills", "1", "--", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("nothing") == 1
