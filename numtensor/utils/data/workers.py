"""Workers that load samples ahead, each a thread or a process of its own.

Kernels let go of Python's global lock while they run, so a thread can load, and make
tensors of what it loads, while others compute: no copy, no pickle. A process has
Python for itself, as a dataset of pure Python needs it; what it loads is pickled, and
a forked one runs its kernels serially (see `kernels.compiler`).

A worker is an executor with one thread or process, so that tasks given to it are done
in their order, by the same one.
"""

from __future__ import annotations

import pickle
import random
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ... import manual_seed
from .collate import default_collate
from .dataset import Subset, TensorDataset


@dataclass
class WorkerInfo:
    """Which worker this is, of how many; its seed and its dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Here(threading.local):
    """What the worker that runs in this thread works on."""

    info: WorkerInfo | None = None
    collate: Callable[[Any], Any]
    samples: Iterator[Any] | None = None
    begin: Callable[[int], None] | None = None
    alone = False


_here = _Here()


def get_worker_info() -> WorkerInfo | None:
    """Return what is known of the worker that calls, None outside of workers."""
    return _here.info


def fetch(dataset: Any, key: Any, collate: Callable[[Any], Any], batched: bool) -> Any:
    """Return the sample at a key, or if `batched` the batch of samples at its keys."""
    if not batched:
        return collate(dataset[key])
    keys = list(key)
    if collate is default_collate and type(dataset) in (TensorDataset, Subset):
        batch = dataset.batch(keys)
        if batch is not None:
            return batch
    several = getattr(dataset, "__getitems__", None)
    if several is not None:
        return collate(several(keys))
    return collate([dataset[k] for k in keys])


def take(
    samples: Iterator[Any], count: int | None, collate: Any, drop: bool
) -> list[Any]:
    """Return the next sample, or batch of `count`, in a list; an empty one at the end.

    `drop` makes the end of a batch that has fewer samples.
    """
    if count is None:
        return [collate(sample) for sample in islice(samples, 1)]
    batch = list(islice(samples, count))
    if not batch or (drop and len(batch) < count):
        return []
    return [collate(batch)]


def _start(
    info: WorkerInfo, collate: Any, begin: Callable[[int], None] | None, alone: bool
) -> None:
    """Keep what the worker works on; a forked one inherits it, unpickled."""
    _here.info = info
    _here.collate = collate
    _here.begin = begin
    _here.alone = alone


def _run(task: Callable[..., Any], *args: Any) -> Any:
    """Do a task, with the worker's info. What it raises can be sent from a process."""
    try:
        return task(_here.info, *args)
    except Exception as error:
        if _here.alone and not _travels(error):
            raise RuntimeError(
                f"DataLoader: got an error of type {type(error).__name__} in a worker "
                "process; expected one that can be pickled. It was:\n"
                + "".join(traceback.format_exception(error))
            ) from None
        raise


def _travels(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


def _begin(info: WorkerInfo) -> None:
    if _here.alone:  # a process: its generators are its own
        random.seed(info.seed)
        manual_seed(info.seed)
        np.random.seed(np.random.SeedSequence(info.seed).generate_state(4))
    if _here.begin is not None:
        _here.begin(info.id)


def _fetch(info: WorkerInfo, key: Any, batched: bool) -> list[Any]:
    return [fetch(info.dataset, key, _here.collate, batched)]


def _rewind(info: WorkerInfo) -> None:
    _here.samples = None


def _take(info: WorkerInfo, count: int | None, drop: bool) -> list[Any]:
    if _here.samples is None:
        _here.samples = iter(info.dataset)
    return take(_here.samples, count, _here.collate, drop)


class Crew:
    """The workers of a loader. What they load comes in lists of one, as by `take`."""

    def __init__(
        self,
        dataset: Any,
        count: int,
        collate: Any,
        begin: Callable[[int], None] | None,
        seed: int,
        context: Any,
        processes: bool,
    ) -> None:
        self.members: list[Executor] = []
        self.ready: list[Future[Any]] = []
        for k in range(count):
            info = WorkerInfo(k, count, seed + k, dataset)
            first = (info, collate, begin, processes)
            member: Executor
            if processes:
                member = ProcessPoolExecutor(1, context, _start, first)
            else:
                member = ThreadPoolExecutor(1, f"DataLoader worker {k}", _start, first)
            self.members.append(member)
            # a task of its own, so that what goes wrong there reaches the caller
            self.ready.append(member.submit(_run, _begin))

    def fetch(self, worker: int, key: Any, batched: bool) -> Future[list[Any]]:
        """Have a worker load a sample, or a batch at several keys."""
        return self.members[worker].submit(_run, _fetch, key, batched)

    def rewind(self) -> None:
        """Have every worker begin anew with an iterable dataset."""
        for member in self.members:
            member.submit(_run, _rewind)

    def take(self, worker: int, count: int | None, drop: bool) -> Future[list[Any]]:
        """Have a worker load its next batch of an iterable dataset."""
        return self.members[worker].submit(_run, _take, count, drop)

    def close(self) -> None:
        """Let the workers go, without waiting for what they still load."""
        for member in self.members:
            member.shutdown(wait=False, cancel_futures=True)
