"""DataLoader: batches of a dataset in a sampler's order, loaded ahead by workers."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ... import empty, int64
from ...random import Generator
from ...tensor import Tensor
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .workers import END, Crew, fetch, take


def _fault(got: str, expected: str, do: str) -> ValueError:
    return ValueError(f"DataLoader: got {got}; expected {expected}. {do}")


class DataLoader:
    """Iterates over a dataset in batches.

    Arguments are PyTorch's, and one more: `num_workers` are threads, since kernels let
    go of Python's global lock and a batch then needs no copy; `worker_type="process"`,
    or a `multiprocessing_context`, makes them processes, for datasets of pure Python.
    Batches come in the sampler's order, whoever loaded them.

    Raises: ValueError, arguments that exclude each other. What a dataset raises in a
    worker is raised where the batch is asked for.

    >>> import numtensor as nt
    >>> from numtensor.utils.data import DataLoader, TensorDataset
    >>> [x.tolist() for (x,) in DataLoader(TensorDataset(nt.arange(5)), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

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
        if worker_type is None:
            worker_type = "thread" if multiprocessing_context is None else "process"
        if worker_type not in ("thread", "process"):
            raise _fault(f"worker_type={worker_type!r}", "'thread' or 'process'", "")
        if isinstance(multiprocessing_context, str):
            multiprocessing_context = multiprocessing.get_context(
                multiprocessing_context
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.worker_type = worker_type
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
        self._crew: Crew | None = None

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
        length = len(self.dataset)
        if self.batch_size is None:
            return length
        if self.drop_last:
            return length // self.batch_size
        return -(-length // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        # drawn whether or not there are workers, so that neither their number nor
        # whether a sampler has a generator of its own changes what else is drawn
        seed = int(empty((), dtype=int64).random_(generator=self.generator))  # type: ignore[operator]
        if not self.num_workers:
            batches = self._alone()
        elif self._iterable:
            batches = self._shared_stream(seed)
        else:
            batches = self._shared(seed)
        return map(_pinned, batches) if self.pin_memory else batches

    def _alone(self) -> Iterator[Any]:
        if not self._iterable:
            for key in self._keys:
                yield fetch(self.dataset, key, self.collate_fn)
            return
        samples = iter(self.dataset)
        while True:
            batch = take(samples, self.batch_size, self.collate_fn, self.drop_last)
            if _is_end(batch):
                return
            yield batch

    def _workers(self, seed: int) -> Crew:
        if self._crew is not None:
            return self._crew
        crew = Crew(
            self.dataset, self.num_workers, self.collate_fn, self.worker_init_fn, seed,
            self.multiprocessing_context, self.worker_type == "process",
        )  # fmt: skip
        if self.persistent_workers:
            self._crew = crew
        return crew

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result(self.timeout or None)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "DataLoader: a worker process ended before it gave its batch. "
                "DataLoader worker exited unexpectedly. Look for what killed it, such "
                "as too little memory; worker_type='thread' needs no copies."
            ) from error
        except TimeoutError as error:
            if not self.timeout or future.done():
                raise  # the dataset's own
            raise RuntimeError(
                f"DataLoader timed out after {self.timeout} seconds. Give it a longer "
                "timeout, or 0 to wait."
            ) from error

    def _close(self, crew: Crew) -> None:
        if crew is not self._crew:
            crew.close()

    def _shared(self, seed: int) -> Iterator[Any]:
        crew = self._workers(seed)
        try:
            for ready in crew.ready:
                self._result(ready)
            ahead = self.num_workers * (self.prefetch_factor or 2)
            waiting: deque[Future[Any]] = deque()
            for number, key in enumerate(self._keys):
                waiting.append(crew.fetch(number % self.num_workers, key))
                if len(waiting) >= ahead:
                    yield self._result(waiting.popleft())
            while waiting:
                yield self._result(waiting.popleft())
        finally:
            self._close(crew)

    def _shared_stream(self, seed: int) -> Iterator[Any]:
        """Take batches from the workers in turn; who has no more is left out."""
        crew = self._workers(seed)
        try:
            for ready in crew.ready:
                self._result(ready)
            crew.rewind()
            batch, drop = self.batch_size, self.drop_last
            ahead = self.prefetch_factor or 2
            waiting = deque(
                (k, crew.take(k, batch, drop))
                for _ in range(ahead)
                for k in range(self.num_workers)
            )
            done: set[int] = set()
            while waiting:
                worker, future = waiting.popleft()
                found = self._result(future)
                if _is_end(found):
                    done.add(worker)
                    continue
                if worker not in done:
                    waiting.append((worker, crew.take(worker, batch, drop)))
                yield found
        finally:
            self._close(crew)

    def __del__(self) -> None:
        crew = getattr(self, "_crew", None)
        if crew is not None:
            crew.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crew": None}


def _is_end(batch: Any) -> bool:
    return isinstance(batch, str) and batch == END


def _pinned(batch: Any) -> Any:
    """Return a batch with its tensors in pinned memory."""
    if isinstance(batch, Tensor):
        return batch.pin_memory()
    if isinstance(batch, dict):
        return {key: _pinned(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(_pinned, batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(map(_pinned, batch))
    return batch
