"""What chooses which samples come, and in what order: iterables of indices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from ... import empty, float64, int64, rand, randint, randperm
from ...random import Generator

Index = TypeVar("Index", covariant=True)


class Sampler(Generic[Index]):
    """The indices of samples: a subclass has `__iter__`, and mostly `__len__`."""

    def __init__(self, data_source: Sized | None = None) -> None:
        pass

    def __iter__(self) -> Iterator[Index]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


def _own(generator: Generator | None) -> Generator:
    """Return the generator, or one of its own whose seed the default one draws."""
    if generator is not None:
        return generator
    made = Generator()
    made.manual_seed(int(empty((), dtype=int64).random_()))  # type: ignore[operator]
    return made


class RandomSampler(Sampler[int]):
    """Indices in random order, or drawn with replacement.

    Raises: ValueError, a number of samples below 1.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(
                f"RandomSampler: got replacement={replacement!r}; expected a bool. "
                "replacement should be a boolean value."
            )
        if not isinstance(self.num_samples, int) or self.num_samples < 1:
            raise ValueError(
                f"RandomSampler: got num_samples={self.num_samples}; expected 1 or "
                "more. num_samples should be a positive integer value, but got "
                f"num_samples={self.num_samples}. Is the dataset empty?"
            )

    @property
    def num_samples(self) -> int:
        """How many indices come."""
        if self._num_samples is None:
            return len(self.data_source)
        return self._num_samples

    def __iter__(self) -> Iterator[int]:
        total = len(self.data_source)
        generator = _own(self.generator)
        wanted = self.num_samples
        if self.replacement:
            for start in range(0, wanted, 32):
                count = min(32, wanted - start)
                yield from randint(  # type: ignore[operator]
                    total, (count,), dtype=int64, generator=generator
                ).tolist()
            return
        while wanted > 0:
            order = randperm(total, generator=generator).tolist()  # type: ignore[operator]
            yield from order[:wanted]
            wanted -= total

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order."""

    def __init__(
        self, indices: Sequence[int], generator: Generator | None = None
    ) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = randperm(len(self.indices), generator=self.generator)  # type: ignore[operator]
        for k in order.tolist():
            yield self.indices[k]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices 0 ... n - 1, each drawn as often as its weight says.

    Without replacement, indices are taken in the order of exponential numbers divided
    by weights. Source: P. Efraimidis, P. Spirakis, "Weighted random sampling with a
    reservoir", Information Processing Letters 97, 2006. Raises: ValueError.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        whole = isinstance(num_samples, int) and not isinstance(num_samples, bool)
        if not whole or num_samples < 1:
            raise ValueError(
                f"WeightedRandomSampler: got num_samples={num_samples}; expected 1 or "
                "more. num_samples should be a positive integer value."
            )
        self.weights = [float(w) for w in weights]
        if min(self.weights, default=-1.0) < 0 or not 0 < sum(self.weights) < math.inf:
            raise ValueError(
                "WeightedRandomSampler: got weights with a negative or infinite one, "
                "or none above 0; expected weights of 0 or more, one of them above."
            )
        if not replacement and num_samples > sum(w > 0 for w in self.weights):
            raise ValueError(
                f"WeightedRandomSampler: got num_samples={num_samples} without "
                "replacement; expected at most as many as there are weights above 0."
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights = np.asarray(self.weights)
        count = self.num_samples if self.replacement else len(weights)
        drawn: Any = rand(count, generator=self.generator, dtype=float64)  # type: ignore[operator]
        drawn = drawn.numpy()
        if self.replacement:
            ends = np.cumsum(weights)
            found = np.searchsorted(ends, drawn * ends[-1], side="right")
            last = int(np.flatnonzero(weights)[-1])
            return iter(np.minimum(found, last).tolist())
        with np.errstate(divide="ignore"):
            keys = -np.log1p(-drawn) / weights
        keys[weights == 0] = np.inf
        return iter(np.argsort(keys, kind="stable")[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The indices of a sampler in lists of `batch_size`, the last perhaps shorter.

    >>> from numtensor.utils.data import BatchSampler, SequentialSampler
    >>> list(BatchSampler(SequentialSampler(range(5)), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, sampler: Iterable[int], batch_size: int, drop_last: bool
    ) -> None:
        whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
        if not whole or batch_size < 1:
            raise ValueError(
                f"BatchSampler: got batch_size={batch_size!r}; expected 1 or more. "
                "batch_size should be a positive integer value, but got "
                f"batch_size={batch_size}."
            )
        if not isinstance(drop_last, bool):
            raise ValueError(
                f"BatchSampler: got drop_last={drop_last!r}; expected a bool. "
                f"drop_last should be a boolean value, but got drop_last={drop_last}."
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        total = len(self.sampler)  # type: ignore[arg-type]
        if self.drop_last:
            return total // self.batch_size
        return -(-total // self.batch_size)
