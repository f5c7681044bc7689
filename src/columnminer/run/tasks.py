"""Many independent tasks: in this process, in several, or on a cluster, with the same results.

============================  =====================================================================
``run_tasks(f, items)``       one after another, here: for a few tasks, and for finding mistakes
``..., workers=8``            in processes of this machine
``..., client=client``        on whatever a `distributed.Client` is connected to
============================  =====================================================================

Tasks have to be idempotent: one that was cut off may be run again. What fails is reported after all others are done.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import cloudpickle

from columnminer.bars import bar
from columnminer.errors import ColumnMinerError, InputError, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from distributed import Client

__all__ = ["run_tasks"]

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

LOG_INTERVAL = 10.0
"""Seconds between lines of progress where there is no bar."""


@dataclass(frozen=True)
class _Outcome:
    """What became of one task: its result, or why there is none."""

    result: Any = None
    error: BaseException | None = None


def run_tasks(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    client: Client | None = None,
    workers: int = 1,
    retries: int = 1,
    so_far: Callable[[Item], object] | None = None,
    title: str = "tasks",
    name: Callable[[Item], str] = str,
    progress: bool = True,
) -> list[Result]:
    """Apply a function to each item, and return the results in the order of the items.

    Parameters
    ----------
    function, items
        Independent, idempotent tasks. They travel to other processes by cloudpickle, so functions defined in a notebook
        are fine.
    client
        A `distributed.Client` to run them on; `workers` then has no meaning.
    workers
        Processes on this machine; 1 runs the tasks in this process.
    retries
        How often a task that failed is tried again. Errors of columnminer are not: bad input stays bad.
    so_far
        How far a task is, where it leaves what it has done. One whose processes or workers die is tried again, however
        often they do, as long as this is another answer each time.
    title
        What the progress display says.
    name
        What to call an item in messages.
    progress
        Whether to show progress: a bar on a terminal and in a notebook, log lines elsewhere.

    Raises
    ------
    TaskError
        If tasks failed, with the reason for each, after all others are done.
    InputError
        If `workers` or `retries` make no sense.
    """
    if workers < 1 or retries < 0:
        msg = f"workers must be at least 1 and retries at least 0, not {workers!r} and {retries!r}"
        raise InputError(msg)
    todo = list(items)
    gets_on = _GetsOn(todo, so_far)
    if client is not None:
        outcomes = _on_cluster(function, todo, client, retries, gets_on)
    elif workers > 1 and len(todo) > 1:
        outcomes = _in_processes(function, todo, min(workers, len(todo)), retries, gets_on)
    else:
        outcomes = _here(function, todo, retries)
    done: dict[int, _Outcome] = {}
    with _display(title, len(todo), visible=progress) as advance, contextlib.closing(outcomes):
        for index, outcome in outcomes:
            done[index] = outcome
            advance()
            if outcome.error is not None:
                _log.error("%s: %s failed: %s", title, name(todo[index]), _reason(outcome.error))
    _raise_failures(title, [name(item) for item in todo], [done[i] for i in range(len(todo))])
    return [done[i].result for i in range(len(todo))]


class _GetsOn:
    """Says whether a task got on since this was asked last, or since the start."""

    def __init__(self, items: Sequence[Any], so_far: Callable[[Any], object] | None) -> None:
        self._items, self._so_far = items, so_far
        self._before = [None if so_far is None else so_far(item) for item in items]

    def __call__(self, index: int) -> bool:
        before = self._before[index]
        self._before[index] = None if self._so_far is None else self._so_far(self._items[index])
        return self._before[index] != before


def _raise_failures(title: str, names: Sequence[str], outcomes: Sequence[_Outcome]) -> None:
    failures = [(n, o.error) for n, o in zip(names, outcomes, strict=True) if o.error is not None]
    if failures:
        reasons = "\n".join(f"  {n}: {_reason(error)}" for n, error in failures)
        msg = f"{title}: {len(failures)} of {len(names)} failed:\n{reasons}"
        raise TaskError(msg) from failures[0][1]


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return "the process that ran it died: it was killed (out of memory?), or crashed in compiled code"
    return str(error) if isinstance(error, ColumnMinerError) else f"{type(error).__name__}: {error}"


def _attempt(function: Callable[[Any], Any], item: Any) -> _Outcome:
    """Run one task. Our own errors become outcomes, so that nobody tries them again; others are raised."""
    try:
        return _Outcome(result=function(item))
    except ColumnMinerError as error:
        return _Outcome(error=error)


def _here(function: Callable[[Any], Any], items: list[Any], retries: int) -> Generator[tuple[int, _Outcome]]:
    for index, item in enumerate(items):
        for attempt in range(retries + 1):
            try:
                outcome = _attempt(function, item)
                break
            except Exception as error:  # noqa: BLE001 - reported with its reason after the other tasks
                _log.warning("attempt %d of %d failed: %s", attempt + 1, retries + 1, _reason(error))
                outcome = _Outcome(error=error)
        yield index, outcome


def _attempt_pickled(task: bytes) -> bytes:
    function, item = cloudpickle.loads(task)  # our own bytes, from the process that started this one
    return bytes(cloudpickle.dumps(_attempt(function, item)))


def _in_processes(
    function: Callable[[Any], Any], items: list[Any], workers: int, retries: int, gets_on: _GetsOn
) -> Generator[tuple[int, _Outcome]]:
    """Run in spawned processes (forked ones inherit the locks of threads).

    If one dies, the pool is replaced, and the tasks that were running are tried again one at a time, which shows whose
    fault it was.
    """
    waiting, suspects = deque(range(len(items))), deque[int]()
    attempts = [0] * len(items)
    running: dict[Future[bytes], int] = {}
    pool = _pool(workers)
    try:
        while waiting or suspects or running:
            queue, room = (suspects, 1) if suspects else (waiting, workers)
            while queue and len(running) < room:
                index = queue.popleft()
                with _script_hidden():
                    running[pool.submit(_attempt_pickled, cloudpickle.dumps((function, items[index])))] = index
            together = len(running) > 1
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in finished):
                finished, _ = wait(running)
                pool.shutdown()
                pool = _pool(workers)
            for future in finished:
                index, error = running.pop(future), future.exception()
                if error is None:
                    yield index, cloudpickle.loads(future.result())
                elif together and isinstance(error, BrokenProcessPool):
                    suspects.append(index)
                elif (isinstance(error, BrokenProcessPool) and gets_on(index)) or attempts[index] < retries:
                    attempts[index] += 1
                    (suspects if isinstance(error, BrokenProcessPool) else waiting).append(index)
                else:
                    yield index, _Outcome(error=error)
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Keep new processes from running the caller's script.

    multiprocessing does so to make the script's functions known; here they travel with the task. Scripts therefore need
    no ``if __name__ == "__main__":``, without which each process would start processes of its own.
    """
    main = sys.modules["__main__"].__dict__
    hidden: dict[str, Any] = {name: main[name] for name in ("__spec__", "__file__") if name in main}
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        yield
    finally:
        main.update(hidden)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let this process end when the one that started it does, also by SIGKILL: nobody would take its results."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _on_cluster(
    function: Callable[[Any], Any], items: list[Any], client: Any, retries: int, gets_on: _GetsOn
) -> Generator[tuple[int, _Outcome]]:
    # Takes half a second, and only those with a client need it.
    from distributed import KilledWorker, as_completed  # noqa: PLC0415

    def submit(index: int) -> Any:
        # Tasks travel as plain bytes: if a worker cannot unpack one (it lacks a module, say), that task fails and says
        # why; where dask itself has to unpack it, the worker dies, and the task waits for another one without end.
        packed = cloudpickle.dumps((function, items[index]))
        return client.submit(_attempt_pickled, packed, retries=retries, pure=False)

    futures = {submit(index): index for index in range(len(items))}
    attempts = [0] * len(items)
    try:
        ended: Any = as_completed(list(futures), raise_errors=False)  # type: ignore[no-untyped-call]
        for future in ended:
            index, error = futures.pop(future), future.exception()
            if isinstance(error, KilledWorker) and (gets_on(index) or attempts[index] < retries):
                attempts[index] += 1
                again = submit(index)
                futures[again] = index
                ended.add(again)
            else:
                yield index, cloudpickle.loads(future.result()) if error is None else _Outcome(error=error)
            future.release()
    finally:
        client.cancel([future for future in futures if not future.done()])


@contextlib.contextmanager
def _display(title: str, total: int, *, visible: bool) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each finished task."""
    done, last_line = 0, time.monotonic()
    with bar(title, total) if visible else contextlib.nullcontext() as move:

        def advance() -> None:
            nonlocal done, last_line
            done += 1
            if move is not None:
                move(done)
            elif visible and (done == total or time.monotonic() - last_line > LOG_INTERVAL):
                last_line = time.monotonic()
                _log.info("%s: %d of %d done", title, done, total)

        yield advance
