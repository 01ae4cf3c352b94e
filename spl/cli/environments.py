"""The commands on environments: ``spl record``, ``spl envs`` and ``spl check env``."""

import textwrap

from spl.cli.run_arguments import FAILURE, INTERRUPTED, OK
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.config.words import name_first

ENVS_HELP = """usage: spl envs [ENV ...] [--check]

list spl's own environments and those of installed packages, or those given

  --check
      play 400 random steps in each, and add the checker's verdict; 'spl check env ENV' gives the details
"""


def record(argv: list[str]) -> int:
    """``spl record [ENV] [options]``."""
    from spl.agents.record import RecordConfig
    from spl.agents.record import record as roll_out

    argv = name_first(argv, "env", "env.id")
    done = roll_out(parse(RecordConfig, argv, prog="spl record [ENV]", aliases={"env": "env.id"}))
    print(f"{done['folder']}: {done['steps']:,} steps, {done['episodes']:,} whole episodes")
    return OK if done["is_finished"] else INTERRUPTED


def envs(argv: list[str]) -> int:
    """``spl envs [ENV ...] [--check]``."""
    from spl.envs.catalog import listed_envs, other_envs
    from spl.envs.check.command import verdict_of
    from spl.runs.logger import print_table

    unknown = [word for word in argv if word.startswith("-") and word not in ("--help", "--check")]
    if unknown:
        raise UsageError(f"spl envs takes names of environments, and --check, got {unknown[0]}")
    if "--help" in argv:
        print(ENVS_HELP)
        return OK
    names = [word for word in argv if word != "--check"]
    columns, rows = ["environment", "actions", "picture", "sound", "rate"], []
    is_checked = "--check" in argv
    for row in listed_envs(names):
        verdict = [verdict_of(row.id) if row.id is not None else ""] if is_checked else []
        rows.append([row.name, *row.cells, *verdict])
    print_table("Environments", columns + ["checked"] * is_checked, rows)
    if not names:
        for heading, text in other_envs():
            print(
                textwrap.fill(f"{heading}: {text}", width=100, break_long_words=False, break_on_hyphens=False)
            )
    return OK


def check_env(argv: list[str]) -> int:
    """``spl check env ENV [options]``."""
    from spl.envs.check.command import check_env as check
    from spl.envs.check.command import print_findings
    from spl.envs.check.config import CheckEnvConfig

    words = name_first(argv, "env", "env.id")
    if not {word.partition("=")[0] for word in words} & {"--env", "--env.id", "--config", "--help"}:
        raise UsageError("say which environment is meant: spl check env spl/Beacon-v0")
    config = parse(CheckEnvConfig, words, prog="spl check env ENV", aliases={"env": "env.id"})
    findings = check(config)
    print_findings(config, findings)
    return FAILURE if any(finding.verdict == "fault" for finding in findings) else OK
