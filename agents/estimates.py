"""Estimates of a run before it begins: processes, open files, memory, network, batches, and its updates."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from spl.agents.config import TrainAgentConfig, build_network, slack_of
from spl.agents.q_network.decoupled import Sizes
from spl.config.errors import UsageError
from spl.processes.threads import allowed_cores
from spl.records import StreamSpec
from spl.runs.directory import pick_device

WORKER_BYTES = 30 * 2**20  # of a process with one small environment, measured; ALE's take a little more
ENV_BYTES = 4 * 2**20  # of one beside others in the same process
WORKER_FILES = 4  # that the process above holds open for each
SPARE = 100  # processes and files of everything else
MANY_PER_CORE = 8  # processes: more are worth a word
COPIES = 5  # of the weights: network, target, gradients, two moments of Adam
FLOAT_BYTES = 4
GIB = 1024**3
UNLIMITED = 2**22  # processes or files: as many as Linux can number


def check_envs(num_envs: int, *, is_apart: bool, option: str) -> str | None:
    """Return a sentence where there are many environments, before any is made; None where they are few.

    Args:
        num_envs: to be made.
        is_apart: whether each has a process of its own.
        option: that says how many.

    Raises:
        UsageError: if the machine has not the memory, the processes or the open files for them.
    """
    needed, there = num_envs * (WORKER_BYTES if is_apart else ENV_BYTES), ram_bytes()
    where = ", each in a process of its own," if is_apart else ""
    what = f"{num_envs:,} environments{where} need about {needed / GIB:.1f} GiB of memory"
    fits = max(1, num_envs * there // needed * 8 // 10)  # the rest of a run needs room too
    limits = {"memory": (needed, there)}
    if is_apart:
        limits |= {
            "processes": (num_envs + SPARE, _most_processes()),
            "open files": (WORKER_FILES * num_envs + SPARE, _limit("RLIMIT_NOFILE")),
        }
        files = max(1, (limits["open files"][1] - SPARE) // WORKER_FILES)
        fits = min(fits, max(1, _most_processes() - SPARE), files)
    lacking = [name for name, (wanted, most) in limits.items() if wanted > most]
    if lacking:
        has = {"memory": f"{there / GIB:.1f} GiB"} | {
            name: f"{most:,} {name}" for name, (_, most) in limits.items() if name != "memory"
        }
        told = [what] if "memory" in lacking else [f"{num_envs:,} environments{where} are too many"]
        raise UsageError(
            f"{told[0]}, and this machine allows {', '.join(has[name] for name in lacking)}: "
            f"use {option} {fits} or less"
        )
    cores = len(allowed_cores())
    if is_apart and num_envs > MANY_PER_CORE * cores:
        return f"{what} and share {cores} core{'s' * (cores > 1)}: more than a few for each wait in turn"
    return None


def _most_processes() -> int:
    """Return how many processes this user and control group may have."""
    limits = [_limit("RLIMIT_NPROC")]
    path = Path("/sys/fs/cgroup/pids.max")
    if path.is_file() and (text := path.read_text().strip()).isdigit():
        limits.append(int(text))
    return min(limits)


def _limit(name: str) -> int:
    """Return a limit of this process; `UNLIMITED` where it has none, or none is known (Windows)."""
    try:
        import resource
    except ImportError:
        return UNLIMITED
    limit = resource.getrlimit(getattr(resource, name))[0]
    return UNLIMITED if limit == resource.RLIM_INFINITY else limit


def num_updates(config: TrainAgentConfig) -> int:
    """Return how many updates a run makes, about: a few less where an observation awaits later rewards."""
    loop = config.loop
    phases = config.num_steps // loop.collect_steps - (config.memory.min_size - 1) // loop.collect_steps
    return max(0, phases) * loop.replays * -(-loop.mini_buffer // loop.batch_size)


def prospects_of(config: TrainAgentConfig) -> Iterator[str]:
    """Yield what the lengths of a run leave unlearned, or unfinished."""
    loop, agent, updates = config.loop, config.agent, num_updates(config)
    if not updates:
        first = -(-config.memory.min_size // loop.collect_steps) * loop.collect_steps
        yield (
            f"phases     NOTHING IS LEARNED: the first update comes after step {first:,}, and num_steps is "
            f"{config.num_steps:,}"
        )
    elif rest := config.num_steps % loop.collect_steps:
        yield (
            f"phases     the last {rest:,} steps are not learned from: num_steps is no multiple of "
            f"loop.collect_steps ({loop.collect_steps:,})"
        )
    most = min(updates, agent.reset_every_updates or updates)
    if agent.is_annealed and most < agent.anneal_updates:
        n_step, gamma = agent.horizon_at(most)
        whole = f"{most:,} updates of agent.anneal_updates={agent.anneal_updates:,}"
        yield f"horizon    ends at n_step {n_step} and gamma {gamma:.4g}, after about {whole}"


def _memory_bytes(config: TrainAgentConfig, spec: StreamSpec) -> int:
    return (config.memory.capacity + config.num_rings * slack_of(config)) * spec.nbytes


def _bytes_in_ram(config: TrainAgentConfig, spec: StreamSpec) -> int:
    """Return the bytes of RAM that the memory takes, and its copy where the device is the CPU."""
    has_copy = config.memory.on_device and pick_device(config.device).type == "cpu"
    return _memory_bytes(config, spec) * ((not config.memory.on_disk) + has_copy)


def _fitting(config: TrainAgentConfig, needed: int, there: int) -> int:
    """Return the capacity of a memory that leaves room for all else."""
    return config.memory.capacity * there // needed * 8 // 10


def check_copy(config: TrainAgentConfig, spec: StreamSpec, device: torch.device) -> None:
    """Refuse a copy of the memory on a GPU that has no room for it.

    Raises:
        UsageError: with the bytes that are needed and that there are.
    """
    if not config.memory.on_device or device.type != "cuda":
        return
    needed, there = _memory_bytes(config, spec), torch.cuda.mem_get_info(device)[0]
    if needed > there:
        raise UsageError(
            f"a copy of the memory on {device} needs {needed:,} bytes ({needed / GIB:.1f} GiB), and "
            f"{there:,} ({there / GIB:.1f} GiB) are free there: use --memory.capacity "
            f"{_fitting(config, needed, there)} or less, or --memory.on_device false"
        )


def check_ram(config: TrainAgentConfig, spec: StreamSpec) -> None:
    """Refuse a memory that does not fit into the machine's RAM.

    Raises:
        UsageError: with the bytes that are needed and that there are.
    """
    observation = spec.nbytes
    needed, there = _bytes_in_ram(config, spec), ram_bytes()
    if needed > there:
        raise UsageError(
            f"a memory of {config.memory.capacity:,} observations of {observation:,} bytes needs "
            f"{needed:,} bytes ({needed / GIB:.1f} GiB), and this machine has "
            f"{there:,} ({there / GIB:.1f} GiB): "
            f"use --memory.capacity {_fitting(config, needed, there)} or less, or --memory.on_disk true"
        )


def ram_bytes() -> int:
    """Return the bytes of RAM that this process may use: the machine's, or its control group's.

    Where the system does not tell (Windows), more than is ever asked for, so that nothing is refused.
    """
    has_told = hasattr(os, "sysconf")
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if has_told else sys.maxsize]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(name)
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            limits.append(int(text))
    return min(limits)


def check_network(config: TrainAgentConfig, spec: StreamSpec, sizes: Sizes) -> None:
    """Refuse a network and batches that do not fit into the machine's RAM beside the memory.

    Raises:
        UsageError: with what each of them needs, and what there is.
        ValueError: if such a network cannot be built.
    """
    stacked = config.memory.history * spec.nbytes
    samples = "sequences" if config.agent.is_recurrent else "transitions"
    parameters = num_parameters(config, spec, sizes)
    parts = {
        "--memory.capacity": (_bytes_in_ram(config, spec), "the memory"),
        "--encoder.* or --env.*": (
            COPIES * FLOAT_BYTES * parameters,
            f"a network of {parameters:,} parameters, learning",
        ),
        "--loop.batch_size or --memory.history": (
            config.agent.steps_of_sample * config.loop.batch_size * stacked * (1 + FLOAT_BYTES),
            f"a batch of {config.loop.batch_size:,} {samples}",
        ),
        "--memory.history": (config.num_envs * stacked, "what is stacked of each environment"),
    }
    needed, there = sum(size for size, _ in parts.values()), ram_bytes()
    if needed > there:
        largest = max(parts, key=lambda name: parts[name][0])
        told = ", ".join(f"{what} {size / GIB:.1f} GiB" for size, what in _largest_first(parts.values()))
        raise UsageError(
            f"this run needs about {needed / GIB:.1f} GiB ({told}), and this machine has {there / GIB:.1f}: "
            f"make {largest} smaller"
        )


def _largest_first(parts: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted((part for part in parts if part[0] >= GIB // 10), reverse=True)


def num_parameters(config: TrainAgentConfig, spec: StreamSpec, sizes: Sizes) -> int:
    """Return the parameters of the network of ``config``, of which nothing is allocated.

    A class of the user's own that cannot be made without its numbers is made with them.

    Raises:
        ValueError: if such a network cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                network = build_network(config, spec, sizes)
        except UsageError:
            network = build_network(config, spec, sizes)
    return sum(parameter.numel() for parameter in network.parameters())
