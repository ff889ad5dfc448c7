"""Square brackets: parts of a tensor read as views, and written.

Keys of integers, slices, None and Ellipsis are dealt with here, others in `advanced`.
"""

from __future__ import annotations

from typing import Any

from .. import layout
from ..memory import view_as
from ..names import whole
from ..spec import spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from . import advanced
from .copies import copy_, fill_
from .declare import attach
from .views import placed, set_in, squeeze, viewed


def _getitem(self: Tensor, key: Any) -> Tensor:
    """Return the part of the tensor that a key names.

    Integers, slices, None and Ellipsis give a view. Tensors, lists and arrays of
    integers, masks and mixtures of all of these give a copy.

    Raises: DimError, out of range or too many indices; DTypeError, a string.

    >>> import numtensor as nt
    >>> x = nt.tensor([[1, 2], [3, 4], [5, 6]])
    >>> x[[0, 2], 1], x[x > 4]
    (tensor([2, 6]), tensor([5, 6]))
    """
    found = self._spec
    if type(key) is int and found.ndim:
        size = tuple.__getitem__(found.shape, 0)
        if -size <= key < size:
            return _row(self, key + size if key < 0 else key)
    if type(key) is Tensor:
        taken = advanced.read_by_tensor(self, key)
        return advanced.read(self, key) if taken is None else taken
    if not layout.is_basic(key):
        return advanced.read(self, key)
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


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    """Store a number, a tensor or nested lists at the part that a key names.

    Raises: as reading, and ShapeError, a value that does not broadcast; DTypeError,
    indices with a value of another dtype; AutogradError.
    """
    if not isinstance(value, (Tensor, bool, int, float)):
        from ..creation import tensor

        value = tensor(value, dtype=self.dtype, device=self.device)
    if not layout.is_basic(key) and advanced.write(self, key, value):
        return
    part = _getitem(self, key) if not _whole(key) else self
    if isinstance(value, Tensor):
        # leading dims of size 1 are dropped, as in PyTorch
        while value.ndim > part.ndim and value.shape[0] == 1:
            value = squeeze(value, 0)
        copy_(part, value)
    else:
        fill_(part, value)


def _whole(key: Any) -> bool:
    return key is Ellipsis


attach("__getitem__", _getitem)
attach("__setitem__", _setitem, whole.setitem)
