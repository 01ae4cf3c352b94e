"""`spl report`: what a page says of a run, what it refuses, and that nothing of a run gets in unescaped."""

import base64
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spl.agents.config import TrainAgentConfig
from spl.classify.ablation.grid import AblateClassifierConfig
from spl.classify.config import TrainClassifierConfig
from spl.cli import main as cli
from spl.cli.report import run_kinds
from spl.config.errors import UsageError
from spl.config.parse import dump, parse
from spl.pretrain.config import PretrainConfig
from spl.report.curves import curve_blocks, group_runs
from spl.report.media import Shelf, media_sections
from spl.report.read_run import Run, read_folder
from spl.report.results import evaluation_blocks

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "agent": TrainAgentConfig,
    "classifier": TrainClassifierConfig,
    "autoencoder": PretrainConfig,
    "grid": AblateClassifierConfig,
}
ROW = {"step": 100, "seconds": 1.5, "train/loss": 0.5, "rollout/ep_rew_mean": 8.0}
LATER = {**ROW, "step": 200, "train/loss": 0.25}
GAMMA = TrainAgentConfig().agent.gamma
Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """A maker of run folders: ``make("name", "--seed", "1", kind="agent", rows=[...])``."""

    def made(name: str, *argv: str, kind: str = "agent", rows: Any = (ROW,)) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(dump(parse(CONFIGS[kind], argv, prog="spl")))
        (folder / "command.txt").write_text("/bin/spl train agent\n")
        if rows:
            (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return made


def report(*words: Any) -> None:
    assert cli.main(["report", *map(str, words)]) == 0


def refusal(capsys: Any, *words: Any) -> str:
    assert cli.main(["report", *map(str, words)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("spl: ")
    assert told.count("\n") == 1
    return str(told)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_kind_of_a_run_is_known_by_its_options(kind: str, make: Maker) -> None:
    run = read_folder(make("run", "--seed", "0", kind=kind), run_kinds())
    assert run.kind.name == kind
    assert type(run.config) is CONFIGS[kind]


def test_a_page_says_what_was_run_and_how_to_run_it_again(make: Maker) -> None:
    folder = make("run", "--seed", "3", "--agent.gamma", "0.5")
    system = {
        "time": "2026-01-01T00:00:00+0000",
        "packages": {"torch": "9.8.7"},
        "commit": "abc123 + changes",
    }
    (folder / "system.jsonl").write_text(json.dumps(system) + "\n")
    report(folder)
    page = (folder / "report.html").read_text()
    assert "spl train agent\n" in page.replace("</pre>", "\n")
    assert f"spl train agent \\\n  --config {folder}/config.yaml" in page
    assert re.search(rf'"row">agent\.<wbr>gamma</th><td>0.5</td><td>{GAMMA}</td>', page)
    assert "torch 9.8.7" in page
    assert "abc123 + changes" in page
    assert "Not evaluated yet" in page
    assert "encoder.<wbr>features</th>" not in page  # not changed: among all options alone


def test_runs_that_differ_in_the_seed_alone_are_one_line(make: Maker) -> None:
    words = [("a", "0", "0.9"), ("b", "1", "0.9"), ("c", "0", "0.8")]
    kinds = run_kinds()
    runs = [
        read_folder(make(name, "--seed", seed, "--agent.gamma", gamma), kinds) for name, seed, gamma in words
    ]
    groups = group_runs(runs)
    assert [[run.name for run in group.runs] for group in groups] == [["a", "b"], ["c"]]
    assert [group.label for group in groups] == ["gamma 0.9", "gamma 0.8"]
    assert [group.label for group in group_runs(runs[:2])] == ["seeds 0, 1"]


def test_what_does_not_bear_on_learning_makes_no_group_of_its_own(make: Maker) -> None:
    runs = [
        read_folder(make(name, "--seed", name, "--runs", f"/tmp/{name}"), run_kinds()) for name in ("1", "2")
    ]
    assert len(group_runs(runs)) == 1


def test_all_that_comes_from_a_run_is_escaped(make: Maker) -> None:
    evil = "<script>alert(1)</script>"
    folder = make("<img src=x onerror=alert(1)>", "--env.id", evil, rows=[{**ROW, evil: 1.0}])
    (folder / "command.txt").write_text(f"spl '{evil}'\n")
    (folder / "system.jsonl").write_text(json.dumps({evil: evil}) + "\n")
    scores = {
        "interquartile_mean": 1,
        "interval_95": [1, 1],
        "mean": 1,
        "standard_deviation": 0,
        "mean_length": 1,
    }
    result = {"conditions": {evil: scores}, "episodes": 1, "seeds": [0], "step": 1, "epsilon": 0.0}
    (folder / "evaluation.json").write_text(json.dumps(result))
    Image.new("RGB", (4, 4)).save(folder / f"{evil.replace('/', '-')}.png")
    report(folder)
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;") > 6


def test_nothing_on_a_page_is_fetched(make: Maker) -> None:
    folder = make("run")
    Image.new("RGB", (4, 4)).save(folder / "picture.png")
    report(folder)
    page = (folder / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'" in page
    assert not re.search(r"@import|<script|url\((?!#)", page)


def test_a_cut_last_row_is_left_out_and_told(make: Maker, capsys: Any) -> None:
    folder = make("run", rows=[ROW, {**ROW, "step": 200, "rollout/ep_rew_mean": 9.0}])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 300, "train/lo')
    report(folder)
    sentence = "The last line of metrics.jsonl is cut, as by a kill, and left out."
    assert sentence in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert sentence in page
    assert "Return over steps. Last value: 9." in page


def test_a_cut_command_is_shown_as_it_is(make: Maker) -> None:
    folder = make("run")
    (folder / "command.txt").write_text("/bin/spl train agent --runs 'my ru")
    report(folder)
    assert "/bin/spl train agent --runs &#39;my ru" in (folder / "report.html").read_text()


def test_damaged_rows_are_refused(make: Maker, capsys: Any) -> None:
    folder = make("run")
    for line, why in (("{cut\n", "is damaged"), ("[1]\n", "expected an object"), ("{}\n", "expected a step")):
        (folder / "metrics.jsonl").write_text(line + json.dumps(ROW) + "\n")
        told = refusal(capsys, folder)
        assert "metrics.jsonl, line 1" in told
        assert why in told
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("out", ["new/deep/a.html", "there", "new/"])
def test_out_may_be_missing_or_a_folder(out: str, make: Maker, tmp_path: Path) -> None:
    run = make("run")
    (tmp_path / "there").mkdir()
    assert cli.main(["report", str(run), "--out", f"{tmp_path}/{out}"]) == 0
    page = tmp_path / out
    assert (page if page.is_file() else page / "report.html").read_text().startswith("<!doctype html>")


def test_bad_input_is_one_sentence(make: Maker, tmp_path: Path, capsys: Any) -> None:
    run, empty, other = make("run"), make("empty", rows=()), make("other", "--seed", "1")
    assert "is not a run directory: it has no config.yaml" in refusal(capsys, tmp_path)
    assert "has no rows in metrics.jsonl yet" in refusal(capsys, empty)
    assert "has no rows in metrics.jsonl yet" in refusal(capsys, run, empty, "--out", tmp_path / "a.html")
    assert "say where the page of several runs goes: --out FILE.html" in refusal(capsys, run, other)
    assert "give each run once" in refusal(capsys, run, run, "--out", tmp_path / "a.html")
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "a.html"
    assert f"{nowhere} cannot be written: File exists" in refusal(capsys, run, "--out", nowhere)
    for size in ("-1", ".nan"):
        assert "max_mib must be at least 0, got" in refusal(capsys, run, "--max_mib", size)
    assert "max_mib must be at most 1e+09, got inf" in refusal(capsys, run, "--max_mib", ".inf")
    assert "give one run directory or several" in refusal(capsys, "--out", "a.html")
    (run / "evaluation.json").write_text('{"conditions')
    assert "evaluation.json is empty, cut or corrupt" in refusal(capsys, run)
    (run / "evaluation.json").write_text('{"conditions": {"all modalities": {}}}')
    assert "are not as this version writes them (KeyError(" in refusal(capsys, run)
    (other / "config.yaml").write_text("colour: red\n")
    assert "is of no run that can be reported" in refusal(capsys, other)
    (other / "config.yaml").write_text("seed: 1")
    assert "is empty or cut" in refusal(capsys, other)


def test_rows_that_are_no_numbers_leave_a_gap_and_faults_are_told(make: Maker) -> None:
    odd = [
        {**ROW, "step": 200, "train/loss": float("nan")},
        {"step": 250, "fault": "env 0 raised <KeyError>"},
    ]
    folder = make("run", rows=[ROW, *odd, {**ROW, "step": 300, "train/loss": float("inf")}])
    report(folder)
    page = (folder / "report.html").read_text()
    assert "Loss over steps. Last value: 0.5." in page
    assert "The environment failed 1 times, at last: env 0 raised &lt;KeyError&gt;." in page


def test_many_classes_are_folded_away(make: Maker) -> None:
    folder = make("run", kind="classifier", rows=[{**ROW, "epoch": 1}])
    row = {"images": 7, "recall": 0.5, "precision": 0.5, "confused_with": None}
    scores = {"last": {"top1": 0.9, "top5": 1.0, "loss": 0.1}, "best": {"top1": 0.9}}
    classes = [{"class": f"class {number}", **row} for number in range(25)]
    (folder / "result.json").write_text(json.dumps({**scores, "classes": classes}))
    report(folder)
    page = (folder / "report.html").read_text()
    shown, _, folded = page.partition("The other 5 classes")
    assert "class 19<" in shown
    assert "class 20<" not in shown
    assert "class 24<" in folded


def test_several_runs_stand_side_by_side(make: Maker, tmp_path: Path) -> None:
    row = {**ROW, "rollout/ep_rew_mean": 4.0}
    folders = [make("a"), make("b", "--seed", "1", rows=[row]), make("c", "--agent.gamma", "0.5")]
    report(*folders, "--out", tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text()
    assert page.count('<details class="chapter"') == 3
    assert f"gamma {GAMMA} (2 seeds)" in page
    assert re.search(r'"row">return in training</th><td>6.00 \(4.00 … 8.00\)</td><td>8.00</td>', page)
    assert '<th scope="col">seed</th>' in page
    for name, seed, gamma in (("a", 0, GAMMA), ("b", 1, GAMMA), ("c", 0, 0.5)):
        assert f'"row">{name}</th><td>{gamma}</td><td>{seed}</td>' in page


def test_an_option_that_only_one_kind_has_is_no_difference(make: Maker, tmp_path: Path) -> None:
    classifier = make("classifier", kind="classifier", rows=[{**ROW, "epoch": 1}, {**LATER, "epoch": 2}])
    agent = make("agent", "--loop.batch_size", "8", rows=[ROW, LATER])
    report(agent, classifier, "--out", tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text()
    assert "Learning curves, agent" in page
    assert "Learning curves, classifier" in page
    assert "<h2>Options that differ</h2>" not in page


def test_the_pretraining_inside_an_agents_run_is_told(make: Maker) -> None:
    folder = make("run")
    make("run/pretraining", kind="autoencoder", rows=[{**ROW, "epoch": 1}, {**LATER, "epoch": 2}])
    report(folder)
    assert "Before: learning curves" in (folder / "report.html").read_text()


def test_restarts_are_one_line(make: Maker) -> None:
    folder = make("run", "--restarts", "2", kind="classifier", rows=())
    for number in range(2):
        rows = [{**row, "epoch": row["step"] // 100, "test/top1": 0.5 + 0.1 * number} for row in (ROW, LATER)]
        make(f"run/restart-{number}", "--seed", str(number), kind="classifier", rows=rows)
    report(folder)
    page = (folder / "report.html").read_text()
    assert "Accuracy over epochs. Last value: 0.55." in page
    assert "seeds 0, 1" in page


def test_a_grid_of_restarts_alone_has_a_page(make: Maker) -> None:
    folder = make("grid", kind="grid", rows=())
    for number in range(2):
        rows = [{**row, "epoch": row["step"] // 100, "test/top1": 0.5} for row in (ROW, LATER)]
        place = f"grid/cells/restarts/seed-0/restart-{number}"
        make(place, "--seed", str(number), kind="classifier", rows=rows)
    report(folder)
    page = (folder / "report.html").read_text()
    assert "<h2>Learning curves</h2>" in page
    assert "Accuracy over epochs. Last value: 0.5." in page


def test_cells_of_a_grid_beside_a_run_are_told_by_grid_and_variant(make: Maker) -> None:
    varied = ("--recipe.epochs", "3", "--recipe.batch_size", "7", "--recipe.momentum", "0.5")
    runs = [make("other", *varied, "--recipe.learning_rate", "0.3", kind="classifier")]
    for number, variant in enumerate(("none", "se")):
        rate = ("--recipe.learning_rate", f"0.{number + 1}")
        runs += [make(f"grid/cells/{variant}/seed-{seed}", *rate, kind="classifier") for seed in (0, 1)]
    groups = group_runs([read_folder(run, run_kinds()) for run in runs])
    assert [group.label for group in groups] == ["other", "grid, none", "grid, se"]


def test_a_run_too_short_for_a_curve_has_no_section_of_them(make: Maker) -> None:
    folder = make("run")
    report(folder)
    assert "Learning curves" not in (folder / "report.html").read_text()
    (folder / "metrics.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps(LATER) + "\n")
    report(folder)
    assert "<h2>Learning curves</h2>" in (folder / "report.html").read_text()


@pytest.mark.parametrize("num_plans", [1, 2, 3])
def test_curves_fill_the_width_of_the_text(num_plans: int, make: Maker) -> None:
    tags = ("rollout/ep_rew_mean", "train/loss", "rollout/ep_len_mean")[:num_plans]
    rows = [{"step": step, "seconds": 1.0, **dict.fromkeys(tags, 1.0)} for step in (1, 2)]
    run = read_folder(make("run", rows=rows), run_kinds())
    charts = [block for block in curve_blocks(run.kind, group_runs([run])) if block.kind == "chart"]
    sizes = {1: ["wide"], 2: ["half"] * 2, 3: ["wide", "half", "half"]}[num_plans]
    assert [chart.size for chart in charts] == sizes
    assert [chart.broad is not None for chart in charts] == [size == "wide" for size in sizes]


def test_what_runs_ran_on_is_told_once_where_nothing_changed(make: Maker, tmp_path: Path) -> None:
    def ran(folder: Path, *commits: str) -> None:
        lines = [{"time": str(day), "commit": commit, "cores": 2} for day, commit in enumerate(commits)]
        (folder / "system.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    one, two = make("one"), make("two", "--seed", "1")
    ran(one, "abc", "abc")
    report(one)
    assert (one / "report.html").read_text().count("<dt>commit</dt>") == 1
    ran(two, "abc", "def")
    report(one, two, "--out", tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    assert page.count("<h2>What it ran on</h2>") == 1
    assert (page.count("<dt>cores</dt>"), page.count("<dt>commit</dt>")) == (1, 2)
    assert "<h3>two, resumed</h3>" in page


def test_explanations_of_before_are_read(make: Maker) -> None:
    folder = make("run")
    (folder / "explanation").mkdir()
    old = {"share_of_sight": 0.75, "share_of_hearing": 0.25, "average_drop": 1.0, "average_increase": 2.0}
    made = {"step": 60, "score": "advantage", "confidence": "softmax", "method": "grad-cam"}
    document = {**made, "episodes": [{"return": 3.5, "steps": 7, **old}]}
    (folder / "explanation" / "explanation.json").write_text(json.dumps(document))
    report(folder)
    assert "<td>75%</td><td>25%</td>" in (folder / "report.html").read_text()


def test_the_restart_that_was_kept_is_judged(make: Maker) -> None:
    folder = make("run", "--restarts", "2", kind="classifier", rows=())
    make("run/restart-0", kind="classifier")
    kept = make("run/restart-1", "--seed", "1", kind="classifier")
    (kept / "confusion.csv").write_text("class,cat,dog\ncat,7,0\ndog,2,5\n")
    restarts = {"kept": "restart-1", "top1": [0.5, 0.9], "mean": 0.7, "sd": 0.2}
    classes = [{"class": "dog", "images": 7, "recall": 5 / 7, "precision": None, "confused_with": "cat"}]
    scores = {"last": {"top1": 0.9, "top5": 1.0, "loss": 0.1}, "best": {"top1": 0.9}, "restarts": restarts}
    (folder / "result.json").write_text(json.dumps({**scores, "classes": classes}))
    judged = {"warning": {"sentences": ["no threshold promises it"]}}
    (folder / "evaluation-last.json").write_text(json.dumps(judged))  # of the folder that was named
    report(folder)
    page = (folder / "report.html").read_text()
    assert "restart-1 is kept, the best of 2 on the held-out images: optimistic. All: 70.00% ± 20.00%" in page
    assert "12 of 14 images are on the diagonal" in page
    assert '"row">dog</th><td>7</td><td>71.4%</td><td>-</td><td>cat</td>' in page
    assert "No threshold promises it." in page


def test_a_classifier_judged_before_its_end_has_its_classes_whatever_weights_were_judged(make: Maker) -> None:
    folder = make("run", kind="classifier", rows=[{**ROW, "epoch": 1, "test/top1": 0.5}])
    cat = {"class": "cat", "images": 7, "recall": 1.0, "precision": 0.5, "confused_with": None}
    judged = {"classes": [cat], "changed": "the held-out images are not those of the training"}
    (folder / "evaluation-best.json").write_text(json.dumps(judged))
    (folder / "evaluation-best.csv").write_text("class,cat,dog\ncat,7,0\ndog,7,0\n")
    _, told, table = evaluation_blocks(read_folder(folder, run_kinds()))
    assert table.rows == [["cat", "7", "100.0%", "50.0%", "-"]]
    assert told.lines == ["Best weights: the held-out images are not those of the training."]


def test_media_are_taken_in_as_far_as_there_is_room(make: Maker, capsys: Any) -> None:
    folder = make("run")
    (folder / "explanation").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "explanation" / "step-1.png")
    (folder / "long.mp4").write_bytes(bytes(2 * 2**20))
    (folder / "explanation" / "broken.png").write_bytes(b"no picture")
    report(folder, "--max_mib", "1")
    told, page = capsys.readouterr().out, (folder / "report.html").read_text()
    sentence = f"Left out for its size: {folder}/long.mp4, 2.0 MiB; raise --max_mib to take it in."
    for text in (told, page):
        assert sentence in text
        assert "broken.png is not an intact image" in text
    assert "<video" not in page
    picture = base64.b64encode((folder / "explanation" / "step-1.png").read_bytes()).decode()
    assert f'src="data:image/png;base64,{picture}" alt="step 1" width="40" height="30"' in page
    report(folder)
    assert (
        '<video controls playsinline preload="metadata" src="data:video/mp4;base64,AAAA'
        in (folder / "report.html").read_text()
    )


def test_what_was_explained_is_on_the_page(make: Maker, capsys: Any) -> None:
    folder = make("run")
    report(folder)
    assert "<h2>Explanations in numbers</h2>" not in (folder / "report.html").read_text()
    place = folder / "explanation"
    place.mkdir()
    drop = {"average_drop": 12.34, "average_increase": 5.0}
    row = {"run": "<b>", "method": "grad-cam", **drop, "win_rate": None, "insertion": 0.5, "deletion": 0.25}
    (place / "measures.json").write_text(json.dumps({"measures": [row], "notes": ["Measured on 7."]}))
    episode = {"return": 3.5, "steps": 1234, "share_of_video": 0.8, "share_of_audio": 0.2, **drop}
    made = {"step": 60, "score": "advantage", "confidence": "softmax over actions", "method": "grad-cam"}
    (place / "explanation.json").write_text(json.dumps({**made, "episodes": [episode]}))
    report(folder)
    page = (folder / "report.html").read_text()
    for cells in (
        ["grad-cam", "12.3 %", "5.0 %", "-", "0.500", "0.250"],
        ["3.5", "1,234", "80%", "20%", "12.3 %", "5.0 %"],
    ):
        assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert '"row">&lt;b&gt;</th>' in page
    assert "Measured on 7." in page
    assert "shares of the advantage of the chosen action" in page
    (place / "measures.json").write_text('{"measures": [{}]}')
    assert "are not as this version writes them (KeyError(" in refusal(capsys, folder)


def test_a_link_out_of_the_run_is_left_alone(make: Maker, tmp_path: Path) -> None:
    folder = make("run")
    Image.new("RGB", (4, 4)).save(tmp_path / "private.png")
    (folder / "link.png").symlink_to(tmp_path / "private.png")
    assert not any(section.blocks for section in media_sections(folder, Shelf(2**20)))


def test_the_last_epoch_is_shown_and_a_few_before_it(make: Maker) -> None:
    folder = make("run", kind="autoencoder", rows=[{**ROW, "epoch": 1}])
    place = folder / "reconstructions"
    place.mkdir()
    (place / "original.wav").write_bytes(b"RIFF")
    for epoch in range(1, 12):
        Image.new("RGB", (4, 4)).save(place / f"epoch-{epoch:04d}.png")
        (place / f"epoch-{epoch:04d}-from-video.wav").write_bytes(b"RIFF")
    section = next(one for one in media_sections(folder, Shelf(2**20)) if one.blocks)
    *shown, folded = section.blocks
    assert [one.title for one in shown if one.kind == "medium"] == [
        "epoch 11",
        "original sound, through log-mel and back",
        "epoch 11, the sound predicted from the video",
    ]
    assert folded.kind == "folded"
    assert folded.title == "Before: 3 of 10 earlier epochs"
    titles = [one.title for one in folded.blocks if one.kind == "medium" and one.sort == "image"]
    assert titles == ["epoch 2", "epoch 6", "epoch 10"]


def test_the_template_goes_with_the_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    others = {
        path.name for path in (ROOT / "spl/report").iterdir() if path.is_file() and path.suffix != ".py"
    }
    assert set(listed["spl.report"]) == others


def test_a_file_that_is_no_table_is_told(make: Maker) -> None:
    run = read_folder(make("run", kind="classifier", rows=[{**ROW, "epoch": 1}]), run_kinds())
    (run.folder / "confusion.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"confusion.csv is empty, cut or corrupt"):
        run.table("confusion")


def test_a_grid_shows_its_own_table_and_a_mark_for_each_run_that_is_finished(tmp_path: Path) -> None:
    cells = ["variant,seed,state,error,seconds", "uniform,0,failed,,", "anti,0,finished,0.5,1"]
    text = """# Ablation, PARTIAL: 1 of 2 cells, 1 failed

| curriculum | error | difference [95 %] | seeds |
| :-- | --: | --: | --: |
| uniform | - | baseline | 0 of 1 |
| anti | 0.5000 | - | 1 |

- Seeds: 0.
- Failed: uniform, seed 0: the loss is nan
"""
    kind = next(one for one in run_kinds() if one.name == "curricula")
    run = Run(tmp_path, kind, None, "", [], [], [], [], [])
    (tmp_path / "ablation.md").write_text(text)
    (tmp_path / "ablation.csv").write_text("\n".join(cells[:2]) + "\n")
    (block,) = evaluation_blocks(run)
    assert block.lines == ["No comparison yet: no cell of the grid is finished."]
    (tmp_path / "ablation.csv").write_text("\n".join(cells) + "\n")
    chart, table, words = evaluation_blocks(run)
    assert "Error of each run. anti: 0.5" in chart.svg
    assert (table.title, table.columns) == (
        "PARTIAL: 1 of 2 cells, 1 failed",
        ["curriculum", "error", "difference [95 %]", "seeds"],
    )
    assert table.rows == [["uniform", "-", "baseline", "0 of 1"], ["anti", "0.5000", "-", "1"]]
    assert words.lines == ["Seeds: 0.", "Failed: uniform, seed 0: the loss is nan"]


def test_what_an_agent_retains_is_on_the_page(make: Maker) -> None:
    scores = {
        "interquartile_mean": 8.0,
        "interval_95": [7.0, 9.0],
        "mean": 8.0,
        "standard_deviation": 1.0,
        "mean_length": 32.0,
    }
    kept = {**scores, "retained": 0.53, "retained_95": [0.41, 0.62]}
    result = {
        "conditions": {"all modalities": scores, "video frozen": kept, "random actions": scores},
        "episodes": 2,
        "seeds": [0],
        "step": 1,
        "epsilon": 0.0,
    }
    folder = make("run")
    (folder / "evaluation.json").write_text(json.dumps(result))
    chart, profile, table = evaluation_blocks(read_folder(folder, run_kinds()))
    assert [profile.kind, table.kind] == ["chart", "table"]
    assert "video frozen: 53" in profile.svg
    assert "all modalities" not in profile.svg
    assert table.columns[-2:] == ["retained", "95 % interval"]
    assert [row[-2:] for row in table.rows] == [["-", "-"], ["53%", "41% … 62%"], ["-", "-"]]
    figures = {"found": 0.9, "found_median": 1.0, "found_90": None, "false_alarms": 0.0025}
    conditions = {"all modalities, monitored": {**scores, "monitor": {"false_alarms": 0.0}}}
    conditions["video frozen, monitored"] = {**kept, "monitor": figures}
    (folder / "evaluation.json").write_text(json.dumps({**result, "conditions": conditions}))
    *_, found = evaluation_blocks(read_folder(folder, run_kinds()))
    assert found.rows == [
        ["all modalities", "-", "-", "-", "0.00%"],
        ["video frozen", "90%", "1", "-", "0.25%"],
    ]
    del kept["retained"]
    result["not_retained"] = "nothing to retain: it is no better"
    (folder / "evaluation.json").write_text(json.dumps(result))
    same, table = evaluation_blocks(read_folder(folder, run_kinds()))
    one, other = (re.sub(r"chart\d+", "", block.svg) for block in (chart, same))
    assert one == other, "the intervals of the returns stay"
    assert table.note.endswith("Nothing to retain: it is no better.")
    assert "retained" not in table.columns
