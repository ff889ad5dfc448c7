"""Indexing: reading and writing parts of a tensor with square brackets."""

from __future__ import annotations

from typing import Any

from .. import dtypes, layout
from ..errors import DimError, DTypeError, message
from ..memory import view_as
from ..spec import spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .copies import copy_, fill_
from .declare import attach
from .views import placed, set_in, squeeze, viewed


def _getitem(self: Tensor, key: Any) -> Tensor:
    """Basic indexing: integers, slices, None and Ellipsis give views.

    Raises: DimError, out of range or too many indices; DTypeError, other indices.
    """
    found = self._spec
    if type(key) is int and found.ndim:
        size = tuple.__getitem__(found.shape, 0)
        if -size <= key < size:
            return _row(self, key + size if key < 0 else key)
    if not layout.is_basic(key):
        key = _plain_key(key)
    shape = self._spec.shape
    return viewed(
        self,
        placed(self, layout.index, key),
        "SelectBackward0" if type(key) is int else "SliceBackward0",
        set_in(shape, lambda full: _getitem(full, key)),
    )


def _row(x: Tensor, index: int) -> Tensor:
    """Return x[index] for an index in range: all rows share one spec."""
    found = x._spec
    row = found.extra.get("row")
    if row is None:
        row = found.extra["row"] = (
            spec(found.dtype, tuple(found.shape[1:]), found.strides[1:], found.device),
            found.strides[0] * found.itemsize,
        )
    made = view_as(x, row[0], index * row[1])
    if (
        (x._requires_grad or x._base is not None)
        and grad_mode.enabled
        and x.requires_grad
    ):
        back = set_in(found.shape, lambda full: _row(full, index))
        made._node = FunctionNode("SelectBackward0", (edge(x),), back)
        made._requires_grad = True
    return made


def _plain_key(key: Any) -> Any:
    """Turn 0-d integer tensors into integers; refuse lists, masks and tensors."""
    parts = list(key) if isinstance(key, tuple) else [key]
    for k, part in enumerate(parts):
        if (
            isinstance(part, Tensor)
            and part.ndim == 0
            and part.dtype.category == dtypes.INTEGER
        ):
            parts[k] = int(part)
        elif isinstance(part, slice):
            parts[k] = slice(
                *[
                    int(b) if isinstance(b, Tensor) else b
                    for b in (part.start, part.stop, part.step)
                ]
            )
    plain = tuple(parts) if isinstance(key, tuple) else parts[0]
    if not layout.is_basic(plain):
        kinds = ", ".join(type(p).__name__ for p in parts)
        # IndexError for what is no index anywhere, as PyTorch
        wrong = any(isinstance(p, (float, complex)) for p in parts)
        raise (DimError if wrong else DTypeError)(
            message(
                "index",
                f"indices of type {kinds}",
                "integers, slices, None or Ellipsis",
                "Indexing by lists, masks and tensors is not part of this version.",
            )
        )
    return plain


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    """Store into a view: `t[1:, 0] = x`."""
    part = _getitem(self, key) if not _whole(key) else self
    if isinstance(value, Tensor):
        # leading dims of size 1 are dropped, as in PyTorch
        while value.ndim > part.ndim and value.shape[0] == 1:
            value = squeeze(value, 0)
        copy_(part, value)
    elif isinstance(value, (bool, int, float)):
        fill_(part, value)
    else:
        from ..creation import tensor

        value = tensor(value, dtype=self.dtype, device=self.device)
        copy_(part, value)


def _whole(key: Any) -> bool:
    return key is Ellipsis


attach("__getitem__", _getitem)
attach("__setitem__", _setitem)
