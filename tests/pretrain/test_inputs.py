"""What the paths of ``--data`` are, how they are typed, and that a run keeps to the data it began with."""

import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from seen_and_heard import record

from spl.cli.main import main
from spl.config.errors import UsageError
from spl.config.parse import dump, parse
from spl.config.words import join_paths
from spl.folder_files import FolderFiles, LeftOut
from spl.pretrain.config import ALIASES, RUNS, PretrainConfig
from spl.pretrain.data import load_pairs
from spl.pretrain.inputs import RecordingFolders, find_inputs
from spl.pretrain.train import pretrain_autoencoder
from spl.runs.directory import check_resumable, read_run
from tests.data.test_videos import CUT, MATROSKA, make_video
from tests.pretrain.test_train import DENSE


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name, tone_hz in {"low/a.mkv": 300.0, "high/b.mkv": 2_000.0, "high/more/c.mkv": 1_900.0}.items():
        make_video(tmp_path / "videos" / name, range(0, 200, 20), tone_hz=tone_hz)
    return tmp_path / "videos"


def config_of(tmp_path: Path, *argv: str) -> PretrainConfig:
    cut = {f"data.videos.{key}": value for key, value in CUT.items() if key != "video_size"}
    fixed = {
        **DENSE,
        **cut,
        "data.videos.video_size": "12,12",
        "recipe.epochs": "1",
        "recipe.batch_size": "24",
        "num_threads": "1",
        "num_drawn": "0",
        "device": "cpu",
        "runs": str(tmp_path / "runs"),
    }
    words = [word for key, value in fixed.items() for word in (f"--{key}", str(value))]
    return parse(PretrainConfig, [*words, *argv], prog="spl", aliases=ALIASES)


def train(config: PretrainConfig, resume: Path | None = None) -> tuple[Path, str]:
    told = io.StringIO()
    console = Console(file=told, width=250)
    return pretrain_autoencoder(
        config, resume=resume, command=["test"], console=console
    ).folder, told.getvalue()


def test_what_a_path_is_is_looked_at(tmp_path: Path, videos: Path) -> None:
    one, two = (
        record(tmp_path / "recordings" / "one", 5, 0),
        record(tmp_path / "recordings" / "deep" / "two", 5, 1),
    )
    assert find_inputs([str(one)]) == RecordingFolders([one], [])
    assert find_inputs([str(one / "recording.json"), str(two)]) == RecordingFolders([one, two], [])
    (tmp_path / "recordings" / "note.txt").write_text("a note")
    found = find_inputs([str(tmp_path / "recordings")])
    assert found == RecordingFolders([two, one], [LeftOut("note.txt", "no part of a recording")])
    assert load_pairs(config_of(tmp_path, "--data", str(tmp_path / "recordings")).data).classes == (
        "two",
        "one",
    )
    names = ["high/b.mkv", "high/more/c.mkv", "low/a.mkv"]
    assert find_inputs([str(videos)]) == FolderFiles(videos, names, [])
    assert find_inputs([str(videos / "low" / "a.mkv")]) == FolderFiles(videos / "low", ["a.mkv"], [])
    pattern = find_inputs([str(videos / "*" / "*.mkv")])
    assert pattern == FolderFiles(videos, ["high/b.mkv", "low/a.mkv"], [])
    assert find_inputs([str(videos / "**" / "*.mkv")]) == FolderFiles(videos, names, [])
    assert find_inputs([str(videos / "low"), str(videos / "high")]) == FolderFiles(videos, sorted(names), [])


def test_a_recording_that_is_given_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (record(tmp_path / "recordings" / name, 5, seed) for seed, name in enumerate(("one", "two")))
    monkeypatch.chdir(tmp_path)
    again = [LeftOut("recordings/one", "given twice"), LeftOut(str(one), "given twice")]
    words = ["recordings/one/", "recordings/one/recording.json", str(one), "recordings/*"]
    found = find_inputs(words)
    assert found.left_out == [again[1], again[0], again[0]]
    assert [Path(folder).resolve() for folder in found.folders] == [one, two]
    assert find_inputs(["minari:a/b", "minari:a/b"]) == RecordingFolders(
        ["minari:a/b"], [LeftOut("minari:a/b", "given twice")]
    )
    assert find_inputs([str(tmp_path / "recordings"), str(two)]).folders == [two, one]


def test_a_folder_of_both_or_of_neither_is_refused_and_told(tmp_path: Path, videos: Path) -> None:
    recording = record(videos / "rec", 5, 0)
    both = (
        r"recordings \(rec/\) and videos \(high/b\.mkv, high/more/c\.mkv, low/a\.mkv\) in .*: give one kind"
    )
    with pytest.raises(UsageError, match=both):
        find_inputs([str(videos)])
    with pytest.raises(UsageError, match=r"recordings \(.*rec\) and videos \(a\.mkv\)"):
        find_inputs([str(recording), str(videos / "low")])
    (recording / "recording.json").unlink()
    with pytest.raises(
        UsageError, match=r"rec is not a complete recording: it has .*\.npy and no recording\.json"
    ):
        find_inputs([str(recording)])
    neither = tmp_path / "neither"
    neither.mkdir()
    (neither / "a.txt").write_text("text")
    with pytest.raises(
        UsageError, match=r"neither holds neither a recording .* nor a video: left out 1 \(text\): a"
    ):
        load_pairs(config_of(tmp_path, "--data", str(neither)).data)


def test_words_after_the_option_are_paths_whatever_is_in_their_names(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(videos)
    for name in ("my, video [1].mkv", "it's.mkv", "-x.mkv"):
        shutil.copy("low/a.mkv", name)

    def paths(*words: str) -> tuple[str, ...]:
        argv = join_paths([*words, "--seed", "3"], ALIASES, "data.paths")
        config = parse(PretrainConfig, argv, prog="spl", aliases=ALIASES)
        assert config.seed == 3
        return config.data.paths

    assert paths("--data", "low/a.mkv", "high/b.mkv") == ("low/a.mkv", "high/b.mkv")
    assert paths("--films", "my, video [1].mkv") == ("my, video [1].mkv",)
    assert paths("--data", "my, video [1].mkv", "it's.mkv", "-x.mkv") == (
        "my, video [1].mkv",
        "it's.mkv",
        "-x.mkv",
    )
    assert paths("--data", "low,high") == ("low", "high")
    assert (
        paths("--data.films.root", "low")
        == paths("--data=low")
        == paths("--data.recordings", "low")
        == ("low",)
    )
    with pytest.raises(UsageError, match="--data and --films are one option: leave one out"):
        paths("--data", "low", "--films", "high")


def test_a_run_leaves_broken_videos_out_for_good(tmp_path: Path, videos: Path, capsys) -> None:
    (videos / "low" / "cut.mkv").write_bytes(MATROSKA)
    (videos / "low" / "cover.txt").write_text("text")
    with pytest.raises(UsageError, match=r"1 of the 4 videos .* low/cut\.mkv .* --data\.skip_broken true"):
        train(config_of(tmp_path, "--data", str(videos)))
    assert not list((tmp_path / "runs").rglob("config.yaml"))
    config = config_of(tmp_path, "--data", str(videos), "--data.skip_broken", "true")
    folder, told = train(config)
    assert (
        "3 videos of 3 s in all: 30 samples of 3 steps, 2 classes; 0 videos without sound, 2 files left"
        in told
    )
    assert (
        "left out 1 (not a video file, or truncated: Invalid data found when processing input): low/cut.mkv"
        in told
    )
    kept = json.loads((folder / "data.json").read_text())
    assert (kept["used"], [one["names"] for one in kept["left_out"]]) == (
        3,
        [["low/cut.mkv"], ["low/cover.txt"]],
    )
    assert kept["files"]["low/a.mkv"] == [10, (videos / "low" / "a.mkv").stat().st_size]
    make_video(videos / "low" / "cut.mkv", range(0, 200, 20))  # mended
    train(config, resume=folder)
    (videos / "low" / "cut.mkv").unlink()  # deleted
    train(config, resume=folder)
    assert json.loads((folder / "data.json").read_text()) == kept
    assert main(["evaluate", "autoencoder", str(folder)]) == 0
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["files"]["used"] == 3
    assert result["files"]["left_out"][0]["names"] == ["low/cover.txt"]
    assert "left out 1 (not among those that the run learned from): low/cover.txt" in capsys.readouterr().out
    (videos / "low" / "a.mkv").unlink()
    with pytest.raises(
        UsageError, match=r"1 of the 3 videos that the run learned from left .*: low/a\.mkv; bring"
    ):
        train(config, resume=folder)


def test_broken_recordings_are_told_or_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "cut"):
        record(tmp_path / "recordings" / name, 9, 0)
    (tmp_path / "recordings" / "cut" / "age.npy").write_bytes(b"cut")
    config = config_of(tmp_path, "--data", str(tmp_path / "recordings"), "--data.history", "1")
    with pytest.raises(UsageError, match=r"cut/age\.npy must be an intact \.npy file"):
        load_pairs(config.data)
    config = config_of(tmp_path, "--data", str(tmp_path / "recordings"), "--data.skip_broken", "true")
    source = load_pairs(config.data)
    assert source.classes == ("a", "b")
    assert "left out 1 (" in source.summary()
    assert source.described()["left_out"][0]["names"] == [str(tmp_path / "recordings" / "cut")]


@pytest.mark.parametrize("kind", ["recordings", "films"])
def test_a_run_from_before_is_read_as_it_was_meant(tmp_path: Path, videos: Path, kind: str) -> None:
    config = config_of(tmp_path, "--data", str(videos), "--data.videos.stride", "2")
    folder, _ = train(config)
    document = yaml.safe_load((folder / "config.yaml").read_text())
    data = document["data"]
    cut, paths = data.pop("videos"), data.pop("paths")
    del data["skip_broken"]
    old = {"root": paths[0], **cut} if kind == "films" else {"root": "", **cut}
    document["data"] = {"recordings": [] if kind == "films" else paths, "films": old, **data}
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    (folder / "data.json").unlink()
    found = read_run(PretrainConfig, folder, RUNS)
    assert dump(found) == dump(config)
    check_resumable(found, config, ())
    assert len(load_pairs(found.data, run=folder)) == 15
