"""The same on Ray: several workers on this machine, several machines, shares of GPUs."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lehr.base.errors import CannotWrite, Interrupted, LehrError, one_line
from lehr.study.execute import Job, RunState, do, parent_failed, record_failure, state_of
from lehr.training.interrupt import stop_on_signal

GLANCE = 0.2  # seconds between looks at what else has happened
ANSWER = 5.0  # seconds until an address must answer
RETRIES = 5  # of a run whose worker died
OBJECTS = 100 * 2**20  # bytes of Ray's object store: our jobs and their ends are small


def do_all_on_ray(
    jobs: Sequence[Job],
    told: Callable[[Job, RunState], None],
    *,
    workers: int = 2,
    address: str | None = None,
    gpus: float = 0.0,
) -> None:
    """Do the jobs on Ray, each after the one that it starts from; a worker that dies has its run taken up by another.

    Args:
        jobs: what is to be done; their folders must be the same for all machines.
        told: hears of each as it ends.
        workers: runs at a time on this machine, without an address.
        address: of a Ray cluster (``auto``, or ``host:port``); each run then asks for as many CPUs as it has threads.
        gpus: share of a GPU for each run.

    Raises:
        LehrError: Ray is not installed, or the cluster cannot be reached.
        Interrupted, CannotWrite: as `lehr.study.execute.do`.
    """
    with _ray(workers, address) as ray, stop_on_signal() as request:
        _check_room(ray, jobs, address, gpus)
        remote = ray.remote(max_retries=RETRIES, num_gpus=gpus)(_work)
        parents: dict[object, Any] = {}
        pending: dict[Any, Job] = {}

        def submit(job: Job) -> None:
            cpus = job.run.settings.threads if address else 1
            before = None if job.parent is None else parents.get(job.parent)
            reference = remote.options(num_cpus=cpus, name=job.run.folder).remote(job, before)
            pending[reference] = job
            parents[job.path] = reference

        for job in jobs:
            submit(job)
        while pending:
            ended, _ = ray.wait(list(pending), num_returns=1, timeout=GLANCE)
            if request:
                _stop(ray, list(pending))
                raise Interrupted("stopped; every run has saved its state: start the same command again to go on")
            for reference in ended:
                job = pending.pop(reference)
                try:
                    state = _result(ray, reference, job)
                    _check_shared(job, state)
                except LehrError:  # nothing goes on: the others save first
                    _stop(ray, list(pending))
                    raise
                if state.status == "busy":
                    time.sleep(GLANCE)
                    submit(job)
                else:
                    told(job, state)


def _check_room(ray: Any, jobs: Sequence[Job], address: str | None, gpus: float) -> None:
    """Raise where no machine could ever take a run: Ray would wait for one."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = max((job.run.settings.threads for job in jobs), default=1) if address else 1
    for name, wanted in (("GPU", gpus), ("CPU", cpus)):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            remedy = "leave --gpus-per-run out" if name == "GPU" else "lower threads, or add a machine"
            raise LehrError(f"a run asks for {wanted:g} {name} and the largest machine has {most:g}: {remedy}")


def _work(job: Job, before: object) -> tuple[str, str]:
    """In a worker; `before` is only there so that Ray waits for the parent. What is raised would lose its class."""
    os.environ.pop("WORLD_SIZE", None)  # a run is one process
    try:
        state = do(job)
    except Interrupted as error:
        return "interrupted", str(error)
    except CannotWrite as error:
        return "full", str(error)
    return state.status, state.reason


def _result(ray: Any, reference: Any, job: Job) -> RunState:
    try:
        status, reason = ray.get(reference)
    except ray.exceptions.WorkerCrashedError:  # its own, or of the run that it waits for
        if job.parent is not None and (before := state_of(job.parent)).status == "failed":
            return record_failure(job, parent_failed(before.reason))
        return record_failure(job, f"its worker died {RETRIES + 1} times: memory may have run out, use fewer --workers")
    except ray.exceptions.OutOfMemoryError:
        return record_failure(job, "memory ran out: use fewer --workers")
    except ray.exceptions.RayError as error:
        raise LehrError(f"Ray could not do {job.run.folder} ({one_line(error)})") from None
    if status == "full":
        raise CannotWrite(reason)
    if status == "interrupted":
        raise Interrupted(reason)
    return RunState(status, reason)


def _check_shared(job: Job, state: RunState) -> None:
    if state.status == "done" and state_of(job.path).status != "done":
        raise LehrError(
            f"a worker has done {job.path}, which is not to be seen here: give --out a folder that all machines share"
        )


def _stop(ray: Any, references: list[Any]) -> None:
    """Tell every run to save, and wait until they have."""
    if not references:
        return
    for reference in references:
        ray.cancel(reference, force=False, recursive=False)
    ray.wait(references, num_returns=len(references), timeout=60)


def _check_address(address: str) -> None:
    """Raise where nobody answers; Ray itself would try for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, ValueError) as error:
        raise LehrError(
            f"Ray cannot be reached at {address or 'an empty address'} ({error}): give its --address as host:port, or auto"
        ) from None


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[Any]:
    try:
        import ray
    except ImportError:
        raise LehrError("more workers are Ray's work, which is not installed: pip install 'lehr[study]'") from None
    own = not ray.is_initialized()
    if own:
        if address is not None:
            _check_address(address)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        here: dict[str, Any] = (
            {} if address else {"num_cpus": workers, "object_store_memory": OBJECTS, "include_dashboard": False}
        )
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise LehrError(
                f"Ray cannot be reached at {address or 'this machine'} ({one_line(error, 200)}): give its --address"
            ) from None
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()
