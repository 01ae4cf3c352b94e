"""Joining Ray, which is imported here alone: a cluster at an address, or one of this machine for a while."""

import contextlib
import importlib.util
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from spl.config.errors import UsageError
from spl.packages import require

ANSWER_S = 8.0  # in which a Ray cluster answers
LOOK_S = 20.0  # in which its machines should say what they have
LEAST_STORE = 128 * 2**20  # bytes of Ray's store of objects: less it refuses, or hardly serves


@contextlib.contextmanager
def cluster(address: str | None, modules: Sequence[str] = ()) -> Iterator[Any]:
    """Yield Ray, joined to the cluster at an address; None for None.

    Args:
        address: ``auto``, ``HOST:6379``, or None.
        modules: files and folders of modules that its processes shall be able to import, too.

    Raises:
        UsageError: if Ray is not installed, is of another version than the cluster's, or does not answer
            there within `ANSWER_S`; if a machine of it has no spl.
    """
    if address is None:
        yield None
        return
    ray, failed = require("ray", f"--ray {address} needs ray"), list[BaseException]()
    if _is_closed(address):  # Ray itself would try for a minute
        raise UsageError(f"--ray {address}: {_refusal(ray, ConnectionError('nothing listens there'))}")
    environment: dict[str, Any] = {"env_vars": {"PYTHONPATH": _paths()}}
    if modules:
        environment["py_modules"] = list(modules)

    def join() -> None:
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment)
        except Exception as error:  # of any kind, told below
            failed.append(error)

    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    joining.join(ANSWER_S)
    if failed or joining.is_alive():
        raise UsageError(f"--ray {address}: {_refusal(ray, failed[0] if failed else None)}")
    try:
        if lacking := _without_spl(ray):
            raise UsageError(
                f"--ray {address}: spl is missing on {', '.join(lacking)}: install it as it is here, for the "
                "Python that runs ray start there"
            )
        yield ray
    finally:
        ray.shutdown()


def _without_spl(ray: Any) -> list[str]:
    """Return the machines that could train, and cannot import spl; of one that does not answer it is thought.

    What is asked is of the standard library: it needs no spl to arrive, and Ray has no failure to print.
    """
    look, at = ray.remote(num_cpus=0, max_retries=0)(importlib.util.find_spec), ray.util.scheduling_strategies
    asked = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0):
            there = look.options(
                scheduling_strategy=at.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            )
            asked[there.remote("spl")] = node["NodeManagerHostname"]
    found, _ = ray.wait([*asked], num_returns=len(asked), timeout=LOOK_S) if asked else ([], [])
    lacking = set()
    for one in found:
        with contextlib.suppress(ray.exceptions.RayError):  # the machine went
            if ray.get(one) is None:
                lacking.add(asked[one])
    return sorted(lacking)


@contextlib.contextmanager
def own_cluster(purpose: str, *, num_cpus: int, store_bytes: int) -> Iterator[Any]:
    """Yield Ray, started on this machine alone, and stop it at the end.

    Args:
        purpose: what needs it, for the sentence where it is not installed.
        num_cpus: how many processes of one thread it may run at a time, whatever the cores.
        store_bytes: for what travels between them.

    Raises:
        UsageError: if it is not installed, or cannot be started.
    """
    ray = require("ray", purpose)
    try:
        ray.init(
            "local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=max(LEAST_STORE, store_bytes),
            _system_config={"worker_niceness": 0},  # by default 15: they would starve beside any other work
            runtime_env={"env_vars": {"PYTHONPATH": _paths()}},
        )
    except Exception as error:
        raise UsageError(f"{purpose}, which could not be started: {_first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _is_closed(address: str) -> bool:
    """Whether nothing can be reached at ``HOST:PORT``; False of what is none."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError):
        return True
    return False


def _paths() -> str:
    return os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])


def _refusal(ray: Any, error: BaseException | None) -> str:
    if error is not None and "ersion mismatch" in str(error):
        other = next((line.split()[-1] for line in str(error).splitlines() if "Ray: " in line), "?")
        python = next((line.split()[-1] for line in str(error).splitlines() if "Python: " in line), "?")
        return (
            f"that cluster has Ray {other} with Python {python}, and here is Ray {ray.__version__}: install "
            "the same versions of both on all machines"
        )
    if error is None:
        return (
            f"no Ray answers there within {ANSWER_S:g} s; start one with ray start --head, or, if one with a "
            "token runs there, copy its ~/.ray/auth_token and set RAY_AUTH_MODE=token"
        )
    return f"no Ray answers there ({_first_line(error)}); start one with ray start --head, or leave it out"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
