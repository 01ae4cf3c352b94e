"""What ``spl envs`` lists, what each row was read from, and the short verdict."""

import sys

import pytest

from spl.cli.main import main
from spl.config.errors import UsageError
from spl.envs.catalog import Listed, listed_envs, other_envs
from spl.envs.check.command import verdict_on
from spl.envs.check.findings import Finding
from spl.envs.registry import ale_games, doom_ids

OURS = [
    ("spl/Beacon-v0", "4", "64 x 64 uint8", "1600 int16", "16,000 Hz"),
    ("spl/Greeting-v0", "4", "64 x 64 uint8", "1600 int16", "16,000 Hz"),
    ("spl/Hyperhot-v0", "4", "64 x 64 uint8", "1600 x 2 int16", "16,000 Hz"),
    ("spl/Pendulum-v0", "5", "64 x 64 uint8", "1600 x 2 int16", "16,000 Hz"),
]
OUR_ROWS = [Listed(name, name, [*cells]) for name, *cells in OURS]
PACKAGES = ("ale_py", "vizdoom", "stable_retro", "minigrid")


@pytest.fixture
def core_alone(monkeypatch):
    for package in PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)  # what import takes for a missing package


def test_rows_of_the_environments_asked_for():
    assert listed_envs(["spl/Beacon-v0"]) == OUR_ROWS[:1]
    heard = listed_envs(["brought_worlds:Heard", "spl/Greeting-v0"])
    assert heard[0].cells == ["3", "-", "400 float32", "8,000 Hz"]
    assert heard[1] == OUR_ROWS[1]
    with pytest.raises(UsageError, match="there is no environment spl/Becon-v0"):
        listed_envs(["spl/Becon-v0"])


def test_rows_of_everything_hold_the_games_as_one():
    for package in PACKAGES:
        pytest.importorskip(package)
    rows = listed_envs([])
    assert rows[:4] == OUR_ROWS
    *scenarios, atari, console = rows[4:]
    assert [row.id for row in scenarios] == doom_ids()
    assert "spl/DoomBasicAudio-v0" in doom_ids()
    assert {tuple(row.cells[1:]) for row in scenarios} == {
        ("240 x 320 x 3 uint8", "5040 x 2 int16", "44,100 Hz")
    }
    name = f"ALE/...-v5 ({len(ale_games())} games)"
    cells = ["up to 18", "210 x 160 uint8", "512 uint8", "30,720 Hz"]
    assert atari == Listed(name, "ALE/Pong-v5", cells)
    assert console.id == "retro:Airstriker-Genesis"
    assert console.cells[1:] == ["224 x 320 x 3 uint8", "736 x 2 int16", "44,100 Hz"]
    told = dict(other_envs())
    assert "Pong" in told["ALE games"].split()
    assert told["Console games"].startswith("Airstriker-Genesis; ")
    assert {"Any scenario of ViZDoom", "MiniGrid"} < set(told)


def test_rows_without_a_package_name_it(core_alone):
    rows = listed_envs([])
    assert rows[:4] == OUR_ROWS
    assert [(row.id, row.cells[0].partition(">")[0]) for row in rows[4:]] == [
        (None, "pip install 'vizdoom"),
        (None, "pip install 'ale-py"),
        (None, "pip install 'stable-retro"),
    ]
    assert other_envs() == [("ALE games", "none installed")]


def test_the_verdict_counts_faults_and_warnings():
    found = [
        Finding("a", "fault", ""),
        Finding("b", "fault", ""),
        Finding("c", "warning", ""),
        Finding("d", "ok", ""),
    ]
    assert verdict_on(found) == "2 faults and 1 warning"
    assert verdict_on(found[3:]) == "no faults found"


def test_the_command_adds_the_verdict_on_demand(capsys):
    assert main(["envs", "spl/Beacon-v0"]) == 0
    assert "checked" not in capsys.readouterr().out
    assert main(["envs", "spl/Beacon-v0", "--check"]) == 0
    assert "no faults found" in capsys.readouterr().out
    assert main(["envs", "--chekc"]) == 2
    assert "spl envs takes names of environments, and --check, got --chekc" in capsys.readouterr().err
