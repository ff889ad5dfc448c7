"""What gives samples: by index, or one after the other."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ... import randperm, tensor
from ...errors import ShapeError, message
from ...random import Generator, default_generator
from ...tensor import Tensor

Sample = TypeVar("Sample", covariant=True)


class Dataset(Generic[Sample]):
    """Samples by index: a subclass has `__getitem__`, and mostly `__len__`.

    A subclass may have `__getitems__(indices)`, which gives a batch's samples at once.

    >>> from numtensor.utils.data import Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...
    ...     def __getitem__(self, index):
    ...         return index**2
    >>> Squares()[3]
    9
    """

    def __getitem__(self, index: Any) -> Sample:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Sample]):
    """Samples one after the other: a subclass has `__iter__`.

    With several workers each runs `__iter__` by itself; `get_worker_info` says which
    share of the samples is its own.
    """

    def __iter__(self) -> Iterator[Sample]:
        raise NotImplementedError(
            "Subclasses of IterableDataset should implement __iter__."
        )

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """The rows of tensors with as many rows: sample i is `(a[i], b[i], ...)`.

    Raises: ShapeError, tensors of different first sizes.

    >>> import numtensor as nt
    >>> from numtensor.utils.data import TensorDataset
    >>> TensorDataset(nt.arange(3), nt.ones(3, 2))[1]
    (tensor(1), tensor([1., 1.]))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        sizes = [t.size(0) for t in tensors]
        if len(set(sizes)) > 1:
            raise ShapeError(
                message(
                    "TensorDataset",
                    f"tensors of {', '.join(map(str, sizes))} rows",
                    "equal first sizes",
                    "Size mismatch between tensors.",
                )
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def batch(self, indices: list[int]) -> list[Tensor] | None:
        """Return what `default_collate` makes of samples, by one kernel a tensor.

        None, if that would be another thing: rows that no plain numbers choose, and
        names of dims, which a stack of samples has from its second dim on.
        """
        if set(map(type, indices)) != {int} or any(t.has_names() for t in self.tensors):
            return None
        places = tensor(indices)
        return [t[places] for t in self.tensors]

    def __len__(self) -> int:
        return int(self.tensors[0].size(0))


class StackDataset(Dataset[Any]):
    """Samples of several datasets side by side: tuples, or dicts if given by name."""

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset: got "
                + ("both" if args else "no datasets")
                + "; expected datasets by position, or by name. Supported either "
                "`tuple` or `dict` of datasets."
            )
        self.datasets: Any = kwargs or args
        lengths = {len(d) for d in (kwargs.values() if kwargs else args)}  # type: ignore[arg-type]
        if len(lengths) > 1:
            raise ValueError(
                f"StackDataset: got lengths {sorted(lengths)}; expected equal lengths. "
                "Size mismatch between datasets."
            )
        self._length = lengths.pop()

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {k: d[index] for k, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[Sample]):
    """Datasets one after the other. Raises: ValueError, none, or iterable ones."""

    datasets: list[Dataset[Sample]]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Dataset[Sample]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError(
                "ConcatDataset: got no datasets; expected at least one. datasets "
                "should not be an empty iterable."
            )
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise ValueError(
                    "ConcatDataset: got an IterableDataset; expected datasets with "
                    "indices. Use ChainDataset."
                )
        sizes = [len(d) for d in self.datasets]  # type: ignore[arg-type]
        self.cumulative_sizes = list(itertools.accumulate(sizes))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Sample:
        if index < 0:
            if -index > len(self):
                raise ValueError(
                    f"ConcatDataset: got index {index}; expected {-len(self)} or more. "
                    "absolute value of index should not exceed dataset length."
                )
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        if which == len(self.datasets):
            raise IndexError(
                f"ConcatDataset: got index {index}; expected less than {len(self)}."
            )
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - before]


class ChainDataset(IterableDataset[Sample]):
    """Iterable datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Sample]:
        for d in self.datasets:
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


class Subset(Dataset[Sample]):
    """The samples of a dataset at some indices."""

    dataset: Dataset[Sample]
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[Sample], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Sample:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> Any:
        chosen = [self.indices[i] for i in indices]
        several = getattr(self.dataset, "__getitems__", None)
        return several(chosen) if several else [self.dataset[i] for i in chosen]

    def batch(self, indices: list[int]) -> Any:
        """Return the dataset's own batch, None if it makes none."""
        if type(self.dataset) not in (TensorDataset, Subset):
            return None
        return self.dataset.batch([self.indices[i] for i in indices])  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[Sample],
    lengths: Sequence[float],
    generator: Generator | None = default_generator,
) -> list[Subset[Sample]]:
    """Split a dataset at random into subsets of given lengths, or fractions of 1.

    What fractions leave over goes to the first subsets, one sample each. Raises:
    ValueError, lengths that do not sum to the dataset's, or to 1.

    >>> import numtensor as nt
    >>> from numtensor.utils.data import TensorDataset, random_split
    >>> parts = random_split(TensorDataset(nt.arange(10)), [0.7, 0.3])
    >>> [len(p) for p in parts]
    [7, 3]
    """
    total = len(dataset)  # type: ignore[arg-type]
    sizes: list[int]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for k, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(
                    f"random_split: got a fraction of {fraction} at index {k}; "
                    f"expected 0 to 1. Fraction at index {k} is not between 0 and 1."
                )
        sizes = [math.floor(total * fraction) for fraction in lengths]
        for k in range(total - sum(sizes)):
            sizes[k % len(sizes)] += 1
        for k, size in enumerate(sizes):
            if not size:
                warnings.warn(
                    f"Length of split at index {k} is 0. This might result in an empty "
                    "dataset.",
                    stacklevel=2,
                )
    else:
        sizes = list(lengths)  # type: ignore[arg-type]
    if sum(sizes) != total:
        raise ValueError(
            f"random_split: got lengths {list(lengths)} for a dataset of {total}; "
            "expected lengths that sum to it. Sum of input lengths does not equal the "
            "length of the input dataset!"
        )
    order = randperm(total, generator=generator).tolist()  # type: ignore[operator]
    ends = list(itertools.accumulate(sizes))
    return [
        Subset(dataset, order[end - size : end])
        for size, end in zip(sizes, ends, strict=True)
    ]
