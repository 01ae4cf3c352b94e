"""The commands on environments: ``spl record``, ``spl envs`` and ``spl check env``."""

import textwrap

from spl.cli.run_arguments import FAILURE, INTERRUPTED, OK
from spl.config.errors import UsageError
from spl.config.parse import parse
from spl.config.words import name_first


def record(argv: list[str]) -> int:
    """``spl record [ENV] [options]``."""
    from spl.agents.record import RecordConfig
    from spl.agents.record import record as roll_out

    argv = name_first(argv, "env", "env.id")
    done = roll_out(parse(RecordConfig, argv, prog="spl record [ENV]", aliases={"env": "env.id"}))
    print(f"{done['folder']}: {done['steps']:,} steps, {done['episodes']:,} whole episodes")
    return OK if done["is_finished"] else INTERRUPTED


def envs(argv: list[str]) -> int:
    """``spl envs [ENV ...]``."""
    from spl.envs.registry import ale_games, describe_envs
    from spl.runs.logger import print_table

    unknown = [word for word in argv if word.startswith("-") and word != "--help"]
    if unknown:
        raise UsageError(f"spl envs takes names of environments only, got {unknown[0]}")
    if "--help" in argv:
        print("usage: spl envs [ENV ...]\n\nlist spl's own environments and installed games, or those given")
        return OK
    columns = ["environment", "actions", "picture", "sound", "rate"]
    print_table("Environments", columns, describe_envs(argv))
    if not argv:
        print(textwrap.fill("ALE games: " + (" ".join(ale_games()) or "none installed"), width=100))
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
