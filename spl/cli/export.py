"""``spl export`` and ``spl push``: a trained agent as a file that plays without us, or on the Hub."""

from spl.cli.run_arguments import OK, take_run
from spl.config.parse import parse


def export_agent(argv: list[str]) -> int:
    """``spl export agent RUN [options]``."""
    from spl.agents.sharing.export import ExportConfig
    from spl.agents.sharing.export import export_agent as export

    run, rest = take_run(argv, "spl export agent runs/agent/...")
    path = export(run, parse(ExportConfig, rest, prog="spl export agent RUN"))
    if path.is_dir():
        print(f"{path}: weights, configuration and a card; spl.load and spl evaluate agent take it as a run")
    else:
        size = path.stat().st_size / 2**20
        print(f"{path}: {size:.1f} MiB; raw frames and samples in, action and Q-values out")
    return OK


def push(argv: list[str]) -> int:
    """``spl push RUN --to hub:user/name [options]``."""
    from spl.agents.sharing.push import PushConfig
    from spl.agents.sharing.push import push as send

    run, rest = take_run(argv, "spl push runs/agent/... --to hub:user/name")
    config = parse(PushConfig, rest, prog="spl push RUN --to hub:USER/NAME")
    print(f"{send(run, config)}: spl.load({config.to!r}) and spl evaluate agent {config.to} take it as a run")
    return OK
