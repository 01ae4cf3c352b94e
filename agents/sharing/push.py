"""``spl push``: an agent's bundle, on the Hugging Face Hub."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spl.agents.bundle import FILES, bundled_config, is_bundle
from spl.agents.hub import LOG_IN, endpoint, local_folder, parts_of, telling
from spl.agents.load import Which
from spl.agents.sharing.export import export_agent
from spl.config.fields import check_fields
from spl.packages import require


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Where an agent is pushed."""

    to: str  # hub:user/name, created if it does not exist
    private: bool = False  # create a new repository as private
    checkpoint: Which = "last"  # newest checkpoint, or the best one evaluated during training

    def __post_init__(self) -> None:
        check_fields(self)


def push(run: str | Path, config: PushConfig | None = None, **options: Any) -> str:
    """Push a run's agent to the Hub, as the bundle that ``spl export agent RUN --to bundle`` writes.

    Args:
        run: run directory of ``spl train agent``, or a bundle.
        config: where; None: as ``options`` say.
        options: fields of `PushConfig` that are to be others, such as ``to="hub:user/name"``.

    Returns:
        The page's address.

    Raises:
        UsageError: if the address is none, it is no agent's run, huggingface_hub is missing, nobody is logged
            in, or the Hub refuses or cannot be reached.
    """
    config = PushConfig(**options) if config is None else replace(config, **options)
    name, revision = parts_of(config.to)
    hub = require("huggingface_hub", f"{config.to} needs huggingface_hub")
    folder = local_folder(run)
    with tempfile.TemporaryDirectory() as place:
        if not is_bundle(folder):
            folder = export_agent(
                folder, to="bundle", out=str(Path(place) / "bundle"), checkpoint=config.checkpoint
            )
        env = bundled_config(folder).env.id
        with telling(config.to, f"cannot be pushed: {LOG_IN}"):
            api = hub.HfApi(endpoint=endpoint(), library_name="spl")
            page = api.create_repo(name, private=config.private, exist_ok=True)
            api.upload_folder(
                repo_id=name,
                folder_path=folder,
                allow_patterns=list(FILES),
                commit_message=f"An agent for {env}",
                revision=revision,
            )
    return str(page)
