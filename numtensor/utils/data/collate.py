"""Batches of samples: tensors stacked, containers collated part by part."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from ... import as_tensor, float64, stack, tensor
from ...tensor import Tensor


def default_convert(data: Any) -> Any:
    """Return arrays of a sample as tensors, tuples as lists, and all else as it is."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return as_tensor(data) if data.dtype.kind in "biuf" else data
    if isinstance(data, tuple) and not hasattr(data, "_fields"):
        return [default_convert(v) for v in data]
    return rebuilt(data, default_convert)


def rebuilt(data: Any, convert: Callable[[Any], Any]) -> Any:
    """Return a container of the same kind with its parts converted."""
    if isinstance(data, Mapping):
        return _like(data, {key: convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(convert(v) for v in data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like(data, [convert(v) for v in data])
    return data


def _like(data: Any, made: Any) -> Any:
    """Return what was made for `data` as a container of its kind."""
    if type(data) is type(made):
        return made
    try:
        if isinstance(data, MutableMapping):  # a defaultdict has more than its items
            clone = copy.copy(data)
            clone.update(made)
            return clone
        return type(data)(made)
    except TypeError:  # a range, say, which is not made of its elements
        return made


def default_collate(batch: Sequence[Any]) -> Any:
    """Return a batch of samples as one: tensors and numbers as tensors with a new
    first dim, strings as they are, containers part by part.

    Shapes: n samples of (*) -> (n, *). Raises: ShapeError, tensors of different shapes;
    TypeError, samples of a kind that makes no batch; RuntimeError, sequences of
    different lengths.

    >>> from numtensor.utils.data import default_collate
    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(tuple(batch), 0)  # type: ignore[operator]
    if isinstance(first, np.ndarray):
        if first.dtype.kind not in "biuf":
            raise TypeError(_refused(first.dtype))
        return stack(tuple(as_tensor(x) for x in batch), 0)  # type: ignore[operator]
    if isinstance(first, np.generic) and first.dtype.kind in "biuf":
        return as_tensor(np.asarray(batch))
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like(
            first, {key: default_collate([d[key] for d in batch]) for key in first}
        )
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        parts = zip(*batch, strict=True)
        return type(first)(*(default_collate(part) for part in parts))
    if isinstance(first, Sequence):
        if any(len(x) != len(first) for x in batch):
            raise RuntimeError(
                "default_collate: got samples of different lengths; expected equal "
                "ones. each element in list of batch should be of equal size."
            )
        parts = zip(*batch, strict=True)
        found = [default_collate(part) for part in parts]
        return found if isinstance(first, tuple) else _like(first, found)
    raise TypeError(_refused(type(first)))


def _refused(kind: Any) -> str:
    return (
        f"default_collate: got {kind}; expected tensors, arrays, numbers, dicts or "
        "lists. batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {kind}. Give the loader a collate_fn of your own."
    )
