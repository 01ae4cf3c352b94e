"""The README's promises: its environment trains with one flag, its Python runs, its files exist."""

import importlib
import re
from pathlib import Path

import spl
from spl.cli import main as cli
from spl.config.presets import find_preset

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_own_environment_trains_with_one_flag(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_env.py").write_text(blocks("python")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # its process would look where this one was started
    assert "spl train agent --env my_env:Siren\n" in "".join(blocks("bash"))
    assert (
        cli.main(["train", "agent", "--config", "smoke/agent", "--env", "my_env:Siren", "--num_threads", "1"])
        == 0
    )
    told = capsys.readouterr().err
    assert "video 'lamp' 48 x 48 -> 1 x 36 x 36, audio 'siren' 800 at 8,000 Hz -> 1 x 64 x 8" in told


def test_the_python_example_names_what_exists():
    example = next(block for block in blocks("python") if "train_agent(" in block)
    compile(example, "README.md", "exec")
    assert [line for line in example.splitlines() if "import" in line] == ["import spl"]
    names = re.findall(r"\bspl\.([A-Za-z_]+)", example)
    assert len(names) == 5
    assert set(names) <= set(spl.__all__)


def test_attention_goes_into_a_network_and_is_pictured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = next(block for block in blocks("python") if "insert_attention(" in block)
    exec(example, {})
    assert "csm in 16 places of ResNet: 25,557,032 -> 28,073,560 parameters" in capsys.readouterr().out
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_every_command_is_named_in_readme_and_gallery():
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    names = [f"spl {' '.join(words)}" for words in cli.COMMANDS]
    assert len(names) >= 26
    for page in (README, gallery):
        assert [name for name in names if not re.search(rf"{name}\b(?! curriculum)", page)] == []


def test_every_preset_that_is_named_exists():
    texts = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    named = re.findall(r"spl (.+?) --config ([\w/.]+)", "\n".join(texts))
    assert len(named) >= 12
    for words, name in named:
        command = "spl train agent" if words.endswith(" agent") else f"spl {words}"
        assert find_preset(name, command) is not None, (command, name)


def test_every_path_and_module_that_is_named_exists():
    """Paths such as ``spl/models/``, names such as ``spl.saliency.METHODS``, in README and docs."""
    texts = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    paths, names = set(), set()
    for text in texts:
        paths |= set(re.findall(r"(?<![\w./-])(?:spl|agents|envs|tests|scripts|configs)/[\w./-]*[\w/]", text))
        names |= set(re.findall(r"(?<![\w./])spl(?:\.[A-Za-z]\w*)+", text))
    worlds = {path for path in paths if path.startswith("spl/") and path.endswith("-v0")}  # ids, not paths
    assert len(paths - worlds) >= 40
    assert len(names) >= 5
    assert not [path for path in sorted(paths - worlds) if not (ROOT / path).exists()]
    for name in sorted(names):
        assert exists(name), name


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    for cut in range(name.count("."), -1, -1):
        parts = name.split(".")
        try:
            found = importlib.import_module(".".join(parts[: cut + 1]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut + 1 :]:
            found = getattr(found, part, None)
        return found is not None
    return False


def test_every_file_that_is_named_exists():
    files = re.findall(r"\]\(([^)h][^)]*)\)", README)
    assert len(files) >= 5
    for file, _, heading in (name.partition("#") for name in files):
        assert (ROOT / file).exists(), file
        headings = re.findall(r"^#+ (.*)$", (ROOT / file).read_text(), flags=re.M) if heading else [heading]
        anchors = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
        assert heading in anchors, heading
