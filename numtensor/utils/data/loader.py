"""DataLoader: batches of a dataset in a sampler's order, loaded ahead by workers."""

from __future__ import annotations

import multiprocessing.context
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from ... import empty, int64
from ...random import Generator
from .collate import default_collate, default_convert, rebuilt
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .workers import Crew, fetch, take

#: a worker's number, and what it was asked for
Task = tuple[int, Future[Any]]

#: what workers, or samplers, have taken in: a change would not reach them
_FIXED = frozenset(
    (
        "batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
        "persistent_workers",
    )
)  # fmt: skip


def _fault(got: str, expected: str, do: str) -> ValueError:
    return ValueError(f"DataLoader: got {got}; expected {expected}. {do}")


def _context(given: Any, num_workers: int, worker_type: str | None) -> Any:
    """Return the multiprocessing context that an argument stands for."""
    if worker_type not in (None, "thread", "process"):
        raise _fault(f"worker_type={worker_type!r}", "'thread' or 'process'", "")
    if given is None:
        return None
    if num_workers == 0 or worker_type == "thread":
        raise _fault(
            f"a multiprocessing_context, num_workers={num_workers} and "
            f"worker_type={worker_type!r}",
            "worker processes",
            "multiprocessing_context can only be used with multi-process loading "
            "(num_workers > 0).",
        )
    if isinstance(given, str):
        known = multiprocessing.get_all_start_methods()
        if given not in known:
            raise _fault(
                f"multiprocessing_context={given!r}",
                f"one of {known}",
                "multiprocessing_context option should specify a valid start method.",
            )
        return multiprocessing.get_context(given)
    if not isinstance(given, multiprocessing.context.BaseContext):
        raise TypeError(
            f"DataLoader: got multiprocessing_context={given!r:.40}; expected a "
            "context, or its name. multiprocessing_context option should be "
            "a valid context object or a string specifying the start method."
        )
    return given


class DataLoader:
    """Iterates over a dataset in batches.

    Arguments are PyTorch's, and one more: `num_workers` are threads, since kernels let
    go of Python's global lock and a batch then needs no copy; `worker_type="process"`,
    or a `multiprocessing_context`, makes them processes, for datasets of pure Python.
    Batches come in the sampler's order, whoever loaded them, or with `in_order=False`
    as they are ready. Threads share the dataset and the generators of random numbers:
    a dataset that changes while it is read needs a lock, and random samples that are
    the same every time need a generator seeded by index, or processes.

    Persistent workers serve one iterator at a time; a second one that is begun before
    the first is through has workers of its own.

    Raises: ValueError, arguments that exclude each other. What a dataset raises in a
    worker is raised where the batch is asked for; RuntimeError, a worker process died,
    or a batch took longer than `timeout` seconds.

    >>> import numtensor as nt
    >>> from numtensor.utils.data import DataLoader, TensorDataset
    >>> [x.tolist() for (x,) in DataLoader(TensorDataset(nt.arange(5)), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    _fixed = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        worker_type: str | None = None,
    ) -> None:
        self._check(num_workers, timeout, prefetch_factor, persistent_workers)
        context = _context(multiprocessing_context, num_workers, worker_type)
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise _fault(
                "an IterableDataset and a sampler, or shuffle",
                "neither",
                "DataLoader with IterableDataset: expected unspecified shuffle option; "
                "its own order is the order.",
            )
        if sampler is not None and shuffle:
            raise _fault(
                "a sampler and shuffle=True",
                "one of them",
                "sampler option is mutually exclusive with shuffle.",
            )
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise _fault(
                    "a batch_sampler and batch_size, shuffle, sampler or drop_last",
                    "the batch_sampler alone",
                    "batch_sampler option is mutually exclusive with batch_size, "
                    "shuffle, sampler, and drop_last.",
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise _fault(
                "drop_last without batches",
                "a batch_size",
                "batch_size=None option disables auto-batching and is mutually "
                "exclusive with drop_last.",
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = context
        self.worker_type = worker_type or ("thread" if context is None else "process")
        self.generator = generator
        if num_workers and prefetch_factor is None:
            prefetch_factor = 2
        self.prefetch_factor = prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        if sampler is None and not iterable:
            if shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            if iterable:
                BatchSampler((), batch_size, drop_last)  # checks the batch size
            else:
                assert sampler is not None
                batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.sampler: Any = sampler
        self.batch_sampler = batch_sampler
        if collate_fn is None:
            batched = batch_size is not None or batch_sampler is not None
            collate_fn = default_collate if batched else default_convert
        self.collate_fn = collate_fn
        self._crew: Crew | None = None  # persistent workers that nobody uses
        self._told: int | None = None  # the length of an iterable dataset, when asked
        self._fixed = True

    @staticmethod
    def _check(
        num_workers: int, timeout: float, prefetch: int | None, persistent: bool
    ) -> None:
        if num_workers < 0:
            raise _fault(
                f"num_workers={num_workers}",
                "0 or more",
                "num_workers option should be non-negative; use num_workers=0 to "
                "disable multiprocessing.",
            )
        if timeout < 0:
            raise _fault(
                f"timeout={timeout}",
                "0 or more",
                "timeout option should be non-negative.",
            )
        if num_workers == 0 and prefetch is not None:
            raise _fault(
                f"prefetch_factor={prefetch} without workers",
                "num_workers above 0",
                "prefetch_factor option could only be specified in multiprocessing. "
                "let num_workers > 0 to enable multiprocessing, otherwise set "
                "prefetch_factor to None.",
            )
        if prefetch is not None and prefetch < 1:
            raise _fault(
                f"prefetch_factor={prefetch}",
                "1 or more",
                "prefetch_factor option should be non-negative.",
            )
        if persistent and num_workers == 0:
            raise _fault(
                "persistent_workers=True without workers",
                "num_workers above 0",
                "persistent_workers option needs num_workers > 0.",
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if self._fixed and name in _FIXED:
            raise ValueError(
                f"DataLoader: got a new {name}; expected it when the loader is made. "
                f"{name} attribute should not be set after DataLoader is initialized. "
                "Make another loader."
            )
        super().__setattr__(name, value)

    @property
    def _iterable(self) -> bool:
        return isinstance(self.dataset, IterableDataset)

    @property
    def _keys(self) -> Iterable[Any]:
        """The indices of samples, or of batches."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._keys)  # type: ignore[arg-type]
        source = self.dataset
        if self.batch_size is not None:
            source = BatchSampler(source, self.batch_size, self.drop_last)
        self._told = len(source)
        return self._told

    def __iter__(self) -> Iterator[Any]:
        # drawn whether or not there are workers, so that neither their number nor
        # whether a sampler has a generator of its own changes what else is drawn
        seed = int(empty((), dtype=int64).random_(generator=self.generator))  # type: ignore[operator]
        batches = self._shared(seed) if self.num_workers else self._alone()
        if self._told is not None:
            batches = self._counted(batches, self._told)
        return map(_pinned, batches) if self.pin_memory and _can_pin() else batches

    def _alone(self) -> Iterator[Any]:
        if not self._iterable:
            batched = self.batch_sampler is not None
            for key in self._keys:
                yield fetch(self.dataset, key, self.collate_fn, batched)
            return
        samples = iter(self.dataset)
        while found := take(samples, self.batch_size, self.collate_fn, self.drop_last):
            yield found[0]

    def _shared(self, seed: int) -> Iterator[Any]:
        """Yield what the workers load, each always some batches ahead."""
        # nobody else has them then: another iterator gets workers of its own
        crew, self._crew = self._crew, None
        if crew is None:
            crew = Crew(
                self.dataset, self.num_workers, self.collate_fn, self.worker_init_fn,
                seed, self.multiprocessing_context, self.worker_type == "process",
            )  # fmt: skip
        waiting: deque[Task] = deque()
        done: set[int] = set()
        sound = False
        try:
            waiting.extend(enumerate(crew.ready))
            while waiting:
                self._next(waiting)
            tasks = self._stream(crew, done) if self._iterable else self._tasks(crew)
            assert self.prefetch_factor is not None
            waiting.extend(islice(tasks, self.num_workers * self.prefetch_factor))
            while waiting:
                worker, found = self._next(waiting)
                if not found:
                    done.add(worker)
                waiting.extend(islice(tasks, 1))
                yield from found
            sound = True
        except GeneratorExit:  # the rest of the batches is not wanted
            sound = True
            raise
        except BrokenProcessPool as error:
            raise RuntimeError(
                "DataLoader: a worker process ended before it gave its batch. "
                "DataLoader worker exited unexpectedly. Look for what killed it, such "
                "as too little memory; worker_type='thread' needs no copies."
            ) from error
        finally:
            for _, future in waiting:
                future.cancel()
            if sound and self.persistent_workers and self._crew is None:
                self._crew = crew
            else:
                crew.close()

    def _tasks(self, crew: Crew) -> Iterator[Task]:
        batched = self.batch_sampler is not None
        for number, key in enumerate(self._keys):
            worker = number % self.num_workers
            yield worker, crew.fetch(worker, key, batched)

    def _stream(self, crew: Crew, done: set[int]) -> Iterator[Task]:
        """Ask the workers in turn for a batch, but not those that are done."""
        crew.rewind()
        while len(done) < self.num_workers:
            for worker in range(self.num_workers):
                if worker not in done:
                    yield worker, crew.take(worker, self.batch_size, self.drop_last)

    def _next(self, waiting: deque[Task]) -> tuple[int, Any]:
        """Take out the first task, or the first that is done; return what it gave."""
        if self.in_order and not self.timeout:
            worker, future = waiting.popleft()
            return worker, future.result()
        asked = [waiting[0]] if self.in_order else list(waiting)
        done, _ = wait([f for _, f in asked], self.timeout or None, FIRST_COMPLETED)
        for k, (worker, future) in enumerate(asked):
            if future in done:
                del waiting[k]
                return worker, future.result()
        raise RuntimeError(
            f"DataLoader timed out after {self.timeout} seconds. Give it a longer "
            "timeout, or 0 to wait."
        )

    def _counted(self, batches: Iterator[Any], told: int) -> Iterator[Any]:
        """Warn once if there are more batches than `len` told.

        Each worker may have a last batch of its own that is not full.
        """
        most = told + max(self.num_workers - 1, 0)
        for number, batch in enumerate(batches, 1):
            if number == most + 1:
                warnings.warn(
                    f"DataLoader: got batch {number} of an IterableDataset; expected "
                    f"{told} of them, by its length. With several workers, its "
                    "__iter__ has to give each a share: see get_worker_info.",
                    stacklevel=2,
                )
            yield batch

    def __del__(self) -> None:
        crew = getattr(self, "_crew", None)
        if crew is not None:
            crew.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crew": None}


def _can_pin() -> bool:
    from ...cuda import is_available

    if is_available():
        return True
    warnings.warn(
        "DataLoader: got pin_memory=True and no CUDA device; memory is not pinned. "
        "'pin_memory' argument is set as true but no accelerator is found, then device "
        "pinned memory won't be used.",
        stacklevel=3,
    )
    return False


def _pinned(batch: Any) -> Any:
    """Return a batch with its tensors, and what else can be, in pinned memory."""
    pin = getattr(batch, "pin_memory", None)
    return rebuilt(batch, _pinned) if pin is None else pin()
