"""Recordings of every format through the command line: what they teach, and where they are shown."""

import importlib.util
import json

import pytest

from spl.cli.main import main
from spl.data.exchange.formats import FORMATS

NEEDS = {"minari": ("minari", "h5py"), "lerobot": ("pyarrow",)}
RECORD = {
    "env": "spl/Beacon-v0",
    "env.video_size": "16,16",
    "env.num_mels": "8",
    "num_steps": "32",
    "seed": "3",
}
PRETRAIN = {
    "data.history": "1",
    "encoder.video_stream": "dense",
    "encoder.audio_stream": "dense",
    "encoder.attention": "none",
    "recipe.epochs": "1",
    "recipe.batch_size": "50",
    "num_drawn": "0",
    "num_threads": "1",
    "device": "cpu",
}


def words(**options: object) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Return a function that records in a format, learns from it, and returns the address and the rows."""
    place = tmp_path_factory.mktemp("formats")

    def learn(kind: str, out: str) -> tuple[str, list[dict]]:
        address = out if kind == "spl" else f"{kind}:{out}"
        assert main(["record", *words(**RECORD, format=kind, out=out)]) == 0
        assert main(["pretrain", "autoencoder", address, *words(**PRETRAIN, runs=place / kind)]) == 0
        (run,) = (place / kind / "autoencoder").iterdir()
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return address, [{key: row[key] for key in row if key.startswith("train/")} for row in rows]

    return learn


@pytest.fixture(scope="module")
def ours(learned, tmp_path_factory):
    return learned("spl", str(tmp_path_factory.mktemp("ours") / "beacon"))[1]


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_teaches_the_same_to_the_bit(kind, ours, learned, tmp_path, monkeypatch, capsys):
    if any(importlib.util.find_spec(one) is None for one in NEEDS[kind]):
        pytest.skip(f"{kind} is not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    address, rows = learned(kind, "beacon/random-v0")
    assert f"{address}: 32 steps, 1 whole episodes" in capsys.readouterr().out
    assert rows == ours
    assert 0 < rows[0]["train/loss"] < 2
    assert main(["show", "data", address, "--num_drawn", "2"]) == 0
    assert "34 samples of 4 steps" in capsys.readouterr().out
    assert (tmp_path / "data.png").exists()
    assert main(["record", *words(**RECORD, format=kind, out="beacon/random-v0")]) == 2
    assert "choose another " in capsys.readouterr().err
