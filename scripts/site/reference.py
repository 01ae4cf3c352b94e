"""The reference: a page for each subject of the public Python names, and one for each command."""

import contextlib
import io
import re
from typing import Any

import spl
from spl.cli.main import COMMANDS

SUBJECTS = {  # package that owns a public name -> the page it is on
    "spl.agents": "Agents",
    "spl.envs": "Environments",
    "spl.models": "Models",
    "spl.attention": "Attention",
    "spl.saliency": "Saliency",
    "spl.classify": "Classifiers",
    "spl.pretrain": "Pretraining",
    "spl.curriculum": "Curricula",
    "spl.records": "Records",
}
OPTION = re.compile(r"^  --(.+)\n((?:      .*\n)+)", flags=re.M)  # as spl.config.options.screen_of writes it


def python_pages() -> dict[str, str]:
    """Return the pages of public names, by path; the docstrings are put in by mkdocstrings."""
    pages: dict[str, str] = {}
    for package, title in SUBJECTS.items():
        names = sorted(name for name, owner in spl._OWNERS.items() if f"{owner}.".startswith(f"{package}."))
        blocks = "\n\n".join(f"::: {spl._OWNERS[name]}.{name}" for name in names)
        text = f"# {title}\n\nEach name is an attribute of `spl`: `spl.{names[0]}`.\n\n{blocks}\n"
        pages[f"reference/{title.lower()}.md"] = text
    documented = sum(text.count("::: ") for text in pages.values())
    if documented != len(spl._OWNERS):
        raise ValueError(f"{len(spl._OWNERS)} public names, {documented} in the reference: add to SUBJECTS")
    return pages


def command_pages() -> dict[str, str]:
    """Return a page for each command, by path: its options, as ``--help`` lists them."""
    pages: dict[str, str] = {}
    for words, command in COMMANDS.items():
        name = " ".join(words)
        variants = ("classifier", "autoencoder", "agent") if words == ("ablate", "curriculum") else ("",)
        purpose = command.purpose[0].upper() + command.purpose[1:]
        text = f"# spl {name}\n\n```bash\nspl {name} {command.usage}\n```\n\n{purpose}.\n"
        for of in variants:
            text += f"\n## `--of {of}`\n" if of else ""
            text += f"\n{options_list(help_screen(name, command.run, ['--of', of] if of else []))}"
        pages[f"reference/commands/{name.replace(' ', '-')}.md"] = text
    return pages


def help_screen(name: str, run: Any, words: list[str]) -> str:
    """Return what ``--help`` prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        run([*words, "--help"])
    return said.getvalue()


def options_list(screen: str) -> str:
    """Return the options of a help screen as a definition list: names and default, then what it does."""
    entries = []
    for names, told in OPTION.findall(f"{screen}\n"):
        *spellings, last = names.split(", ")
        last, _, default = last.partition(" ")
        terms = ", ".join(f"`--{name.removeprefix('--')}`" for name in (*spellings, last))
        shown = f" {code(default)}" if default else ""
        text, dashes, kind = "; ".join(line.strip() for line in told.splitlines()).rpartition(" -- ")
        meaning = f"{cell(text)}; *{cell(kind)}*" if dashes else cell(kind)
        entries.append(f"{terms}{shown}\n:   {meaning}\n")
    return "\n".join(entries) or "It has no options.\n"


def code(text: str) -> str:
    """Return a text as code that may break after a comma."""
    return f'<code class="default">{cell(text).replace(",", ",<wbr>")}</code>'


def cell(text: str) -> str:
    """Return a text in which Markdown and HTML find nothing of theirs."""
    return re.sub(r"[&<>|*_`\[\]]", lambda found: f"&#{ord(found[0])};", text)


def navigation(pages: dict[str, str]) -> list[dict[str, Any]]:
    """Return the entries of the navigation."""
    titles = {path: text.partition("\n")[0].removeprefix("# ") for path, text in pages.items()}
    python = [{title: path} for path, title in titles.items() if "/commands/" not in path]
    commands = [{title: path} for path, title in sorted(titles.items()) if "/commands/" in path]
    return [{"Python": python}, {"Commands": commands}]
