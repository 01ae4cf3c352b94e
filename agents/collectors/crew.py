"""The collectors of a run as Ray starts them: on which machines, with which modules, and what refuses them.

What they are asked, and what is made of their answers, is in `intake`.
"""

import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spl import __version__
from spl.agents.collectors.actor import CollectorActor, Machine
from spl.agents.collectors.options import Plan
from spl.agents.collectors.protocol import Player
from spl.config.errors import UsageError
from spl.config.named_class import imported, parts_of_named
from spl.processes.cluster import cluster, own_cluster
from spl.processes.threads import allowed_cores

LOOK_S, PLACE_S = 20.0, 600.0  # in which all collectors should have started, and one at least must have
RETRIES = 5  # of a look
STORE_BYTES = 2**30  # of Ray's on this machine: two chunks of each collector, and weights, are a part of it


class Crew(NamedTuple):
    """Collectors that were started."""

    ray: Any
    plan: Plan
    actors: list[Any]
    told: list[str]  # sentences on where they are


@contextmanager
def ray_of(plan: Plan | None, *, ram_bytes: int) -> Iterator[Any]:
    """Yield Ray for the collectors of a run, joined or started; None for a run without any.

    Args:
        plan: None of a run without any.
        ram_bytes: of this machine, of which Ray takes a part if it is started.

    Raises:
        UsageError: if it is not installed, or does not serve.
    """
    if plan is None:
        yield None
    elif plan.ray is None:
        purpose = f"--collectors {plan.num_collectors} needs ray"
        store = min(STORE_BYTES, ram_bytes // 4)
        with own_cluster(purpose, num_cpus=plan.num_collectors, store_bytes=store) as ray:
            yield ray
    else:
        with cluster(plan.ray, modules_of(plan)) as ray:
            yield ray


def hire(
    ray: Any, plan: Plan, open_player: Callable[[int, int], Player], tell: Callable[[str], None]
) -> Crew:
    """Start the collectors, and look whether spl and the environment are where they are.

    Where there are more than the cluster's cores they share them. ``tell`` gets a sentence while none starts;
    ``open_player`` as of `CollectorActor`.

    Raises:
        UsageError: if a machine lacks something, or none has a core to spare.
    """
    num, told = plan.num_collectors, list[str]()
    cores = len(allowed_cores()) if plan.ray is None else int(ray.cluster_resources().get("CPU", 0))
    if num > cores:
        told.append(f"{num} collectors share {cores} core{'s' * (cores != 1)}: they wait for each other")
    is_free = num > cores and plan.ray is not None
    make = ray.remote(
        num_cpus=0 if is_free else 1, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
    )(CollectorActor)
    actors = [make.remote(plan, open_player, index) for index in range(num)]
    looks = [actor.look.options(max_task_retries=RETRIES).remote() for actor in actors]
    found, _ = ray.wait(looks, num_returns=num, timeout=LOOK_S)
    if not found:
        tell("collectors none has started yet: is a core of the cluster free?")
        found, _ = ray.wait(looks, num_returns=1, timeout=PLACE_S)
    machines = [_machine(ray, look, plan) for look in found]
    if not machines:
        raise UsageError(f"no machine of the Ray cluster had a core for a collector in {PLACE_S:g} s")
    names = sorted({machine.name for machine in machines})
    where = ", ".join(f"{sum(one.name == name for one in machines)} on {name}" for name in names)
    waiting = f", {num - len(machines)} not started yet" if len(machines) < num else ""
    return Crew(ray, plan, actors, [f"{where}{waiting}", *told])


def _machine(ray: Any, look: Any, plan: Plan) -> Machine:
    """Return where a collector is, if it can serve there."""
    try:
        machine: Machine = ray.get(look)
    except ray.exceptions.RayError as error:
        if "No module named 'spl" in str(error):
            raise UsageError(
                "a machine of the Ray cluster has no spl: install it there, where ray start ran"
            ) from error
        raise UsageError(f"no collector could be started: {summary_of(error)}") from error
    if machine.version != __version__:
        raise UsageError(
            f"{machine.name} has spl {machine.version}, and here is {__version__}: install the same on both"
        )
    if machine.failure is not None:
        raise UsageError(
            f"{plan.env.id} can be made here, and not on {machine.name}: {machine.failure}. Install what "
            "it needs there, or name your own as --env module:Class, whose module is sent along"
        )
    return machine


def summary_of(error: BaseException) -> str:
    """Return what Ray says of an error, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def modules_of(plan: Plan) -> list[str]:
    """Return the files and folders of the user's own modules that the run names, for its collectors.

    Those beside them that they have imported go along. What is installed is left out.
    """
    own = *plan.classes, *plan.env.wrappers
    named = [plan.env.id, *(parts_of_named(one, "")[0] for one in own)]
    tops = {one.split(":")[0].split(".")[0] for one in named if ":" in one}
    found: dict[str, str] = {}
    for top in sorted(tops):
        try:
            origin = _origin_of(imported(top, f"the module {top}"))
        except Exception:  # as the environment is made it is told
            continue
        if origin is None or _is_installed(origin):
            continue
        for name, module in list(sys.modules.items()):
            beside = _origin_of(module)
            if beside is not None and beside.parent == origin.parent and name not in ("__main__", "spl"):
                found[name] = str(beside)
    return sorted(set(found.values()))


def _origin_of(module: Any) -> Path | None:
    """Return the file of a module that stands alone, or the folder of a package; None of a part of one."""
    file = getattr(module, "__file__", None)
    if file is None or "." in getattr(module, "__name__", "."):
        return None
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path


def _is_installed(path: Path) -> bool:
    places = [*site.getsitepackages(), sysconfig.get_path("stdlib"), site.getusersitepackages()]
    return any(path.is_relative_to(Path(place).resolve()) for place in places)
