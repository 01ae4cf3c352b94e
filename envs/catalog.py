"""What ``spl envs`` lists: our worlds, and the games and scenarios of packages that are installed."""

from typing import Any, NamedTuple

from spl.envs import retro
from spl.envs.config import EnvConfig
from spl.envs.registry import ale_games, ale_ids, doom_ids, make_env, our_ids
from spl.packages import install_advice, is_installed


class Listed(NamedTuple):
    """A row of the list."""

    name: str
    id: str | None  # of the environment that it was read from; None: its package is not installed
    cells: list[str]  # actions, picture, sound, rate


def listed_envs(ids: list[str]) -> list[Listed]:
    """Return the environments asked for; without ids all, games whose streams are alike as one.

    Raises:
        UsageError: if one is unknown or cannot be made.
    """
    if ids:
        return [_listed(env_id) for env_id in ids]
    rows = [_listed(env_id) for env_id in our_ids()]
    rows += (
        [_listed(env_id) for env_id in doom_ids()]
        if is_installed("vizdoom")
        else [_missing("spl/Doom...-v0", "vizdoom")]
    )
    games = f"ALE/...-v5 ({len(ale_ids())} games)"
    rows.append(_alike("ALE/Pong-v5", games, "up to 18") if ale_ids() else _missing("ALE/...-v5", "ale-py"))
    if not is_installed("stable_retro"):
        return [*rows, _missing(f"{retro.PREFIX}...", "stable-retro")]
    return [*rows, _listed(retro.PREFIX + retro.FREE_GAME)]


def other_envs() -> list[tuple[str, str]]:
    """Return what else there is, a heading and the names below it."""
    told = [("ALE games", " ".join(ale_games()) or "none installed")]
    if is_installed("stable_retro"):
        told.append(("Console games", " ".join(retro.games()) + f"; {retro.IMPORT}"))
    if is_installed("vizdoom"):
        told.append(("Any scenario of ViZDoom", "spl/Doom-v0 --env.kwargs.config FILE.cfg"))
    if is_installed("minigrid"):
        wrapper = "minigrid.wrappers:RGBImgPartialObsWrapper"
        told.append(("MiniGrid", f"minigrid:MiniGrid-Empty-8x8-v0 and others, with --env.wrappers {wrapper}"))
    return told


def _listed(env_id: str) -> Listed:
    env = make_env(EnvConfig(id=env_id))
    chosen, sizes = env.describe(), env.action_sizes
    env.close()
    streams = [_stream(chosen.get(modality)) for modality in ("video", "audio")]
    rate = f"{chosen['audio']['sample_rate_hz']:,} Hz" if "audio" in chosen else "-"
    return Listed(env_id, env_id, [" x ".join(map(str, sizes)), *streams, rate])


def _alike(env_id: str, name: str, actions: str) -> Listed:
    """Return one row for games whose streams are alike."""
    return Listed(name, env_id, [actions, *_listed(env_id).cells[1:]])


def _missing(name: str, distribution: str) -> Listed:
    return Listed(name, None, [install_advice(distribution), "", "", ""])


def _stream(chosen: dict[str, Any] | None) -> str:
    if chosen is None:
        return "-"
    shape, dtype = chosen["from"]
    return f"{' x '.join(map(str, shape))} {dtype}"
