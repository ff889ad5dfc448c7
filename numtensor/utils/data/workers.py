"""Workers that load samples ahead, each a thread or a process of its own.

Kernels let go of Python's global lock while they run, so a thread can load, and make
tensors of what it loads, while others compute: no copy, no pickle. A process has
Python for itself, as a dataset of pure Python needs it; what it loads is pickled, and
a forked one runs its kernels serially (see `kernels.compiler`).

A worker is an executor with one thread or process, so that tasks given to it are done
in their order, by the same one.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

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


def fetch(dataset: Any, indices: Any, collate: Callable[[Any], Any]) -> Any:
    """Return the sample at an index, or the batch at a list of them."""
    if not isinstance(indices, (list, tuple)):
        return collate(dataset[indices])
    if collate is default_collate and type(dataset) in (TensorDataset, Subset):
        batch = dataset.batch(list(indices))
        if batch is not None:
            return batch
    several = getattr(dataset, "__getitems__", None)
    if several is not None:
        return collate(several(list(indices)))
    return collate([dataset[i] for i in indices])


END = "the end of a worker's samples"


def take(samples: Iterator[Any], count: int | None, collate: Any, drop: bool) -> Any:
    """Return the next sample, or batch of `count`; END if there is none."""
    if count is None:
        for sample in samples:
            return collate(sample)
        return END
    batch = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == count:
            break
    if not batch or (drop and len(batch) < count):
        return END
    return collate(batch)


def _start(
    info: WorkerInfo, collate: Any, begin: Callable[[int], None] | None, alone: bool
) -> None:
    """Keep what the worker works on; a forked one inherits it, unpickled."""
    _here.info = info
    _here.collate = collate
    _here.samples = None
    _here.begin = begin
    _here.alone = alone


def _begin() -> None:
    info = _here.info
    assert info is not None
    if _here.alone:  # a process: its generators are its own
        random.seed(info.seed)
        manual_seed(info.seed)
    if _here.begin is not None:
        _here.begin(info.id)


def _fetch(indices: Any) -> Any:
    assert _here.info is not None
    return fetch(_here.info.dataset, indices, _here.collate)


def _rewind() -> None:
    assert _here.info is not None
    _here.samples = iter(_here.info.dataset)


def _take(count: int | None, drop: bool) -> Any:
    if _here.samples is None:
        _rewind()
    assert _here.samples is not None
    return take(_here.samples, count, _here.collate, drop)


class Crew:
    """The workers of a loader."""

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
        self.ready: list[Future[None]] = []
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
            self.ready.append(member.submit(_begin))

    def fetch(self, worker: int, indices: Any) -> Future[Any]:
        """Have a worker load the batch at some indices."""
        return self.members[worker].submit(_fetch, indices)

    def rewind(self) -> None:
        """Have every worker begin anew with an iterable dataset."""
        for member in self.members:
            member.submit(_rewind).result()

    def take(self, worker: int, count: int | None, drop: bool) -> Future[Any]:
        """Have a worker load its next batch of an iterable dataset."""
        return self.members[worker].submit(_take, count, drop)

    def close(self) -> None:
        """Let the workers go, without waiting for what they still load."""
        for member in self.members:
            member.shutdown(wait=False, cancel_futures=True)
