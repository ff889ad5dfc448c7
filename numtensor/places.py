"""Elements at places that index tensors name: read, written, joined.

A `Spot` names places by one index for each of some dims, an `Along` by one index along
a dim, element by element. Both check what they are given before memory is touched, and
both write in a fixed order, so that results are the same in every run: of equal places
written to, the last one counts, and what is added up is added in order.

Comes from the operators that index; knows tensors as memory, and not the tape.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from . import dtypes, launch, transfer
from .devices import CPU, Twin
from .devices import device as Device
from .errors import DimError, message
from .kernels import compiler
from .kernels.by_hand import places as texts
from .layout import collapse, contiguous_strides, extent, numel
from .memory import empty
from .sorted_rows import sort
from .spec import Spec, contiguous_spec
from .tensor import Tensor

#: what moves elements knows how large they are, and nothing else of their dtype
CARRIERS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}
#: more indices would need more pointers than a kernel has
MOST_INDICES = 16
#: with so many lead indices, each is a task, and indices are not divided
_MANY = 64
#: elements joined from which threads pay, on the CPU
_MANY_JOINED = 40_000

_plans: dict[Any, Any] = {}


def _kept(key: Any, make: Callable[[], Any]) -> Any:
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 4000:
            _plans.clear()
        plan = _plans[key] = make()
    return plan


class _Host(threading.local):
    """Where kernels of this thread say that an index was out of range."""

    def __init__(self) -> None:
        self.flag = ctypes.c_int64(0)
        self.address = ctypes.addressof(self.flag)


HOST = _Host()


class _Fault:
    """The flag of one call: on the host, or on a device, from where it is fetched.

    While a function is traced nobody looks at it. The kernels neither read nor write
    outside of a tensor by a wrong index: what it would read is undefined, what it would
    write goes to the tensor's first place.
    """

    __slots__ = ("address", "_there")

    def __init__(self, on: Device) -> None:
        self._there = None
        if on is CPU:
            self.address = HOST.address
        elif type(on) is Twin:
            self.address = empty(contiguous_spec(dtypes.int64, (1,), on))._pointer
        else:
            self._there = empty(contiguous_spec(dtypes.int64, (1,), on))
            self._there.zero_()
            self.address = self._there._pointer

    def happened(self) -> bool:
        if self._there is not None:
            return bool(transfer.values(self._there)[0])
        if HOST.flag.value:
            HOST.flag.value = 0
            return True
        return False


class _Seen:
    """A layout as (lead, named, trail), neighbours merged where strides allow it."""

    def __init__(self, found: Spec, named: tuple[int, ...]) -> None:
        shape, strides = tuple(found.shape), found.strides
        first, last = named[0], named[-1]
        # dims that are named in places apart come first, as in NumPy
        together = last - first + 1 == len(named)
        lead = list(range(first)) if together else []
        trail = [d for d in range(found.ndim) if d not in lead and d not in named]
        self.lead_shape = tuple(shape[d] for d in lead)
        self.trail_shape = tuple(shape[d] for d in trail)
        self.heads, self.width = numel(self.lead_shape), numel(self.trail_shape)
        self.lead = _merged(self.lead_shape, tuple(strides[d] for d in lead))
        self.trail = _merged(self.trail_shape, tuple(strides[d] for d in trail))
        self.sizes = tuple(shape[d] for d in named)
        self.steps = tuple(strides[d] for d in named)
        self.unit = not self.trail or self.trail[-1][1] == 1

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.lead), len(self.trail)

    def numbers(self, m: int) -> tuple[int, ...]:
        """Return the values of a kernel's table."""
        nests = [n for nest in (*self.lead, *self.trail) for n in nest]
        return (m, self.width, *nests)


def _merged(
    shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Return (size, step) of the fewest dims, none where there is one element."""
    sizes, steps = collapse(shape, [strides], reorder=False)
    if numel(sizes) == 1:
        return ()
    return tuple(zip(sizes, steps[0], strict=True))


class Spot:
    """Places named by an index for each of some dims, as in `x[:, i, j]`.

    `indices` are int64, contiguous, of one shape, on the device of the tensor; `named`
    says which dims they belong to, ascending. `wraps`: negative ones count from the
    end. `unique`: no place is named twice.
    """

    __slots__ = ("named", "indices", "wraps", "unique", "op")

    def __init__(
        self,
        op: str,
        named: tuple[int, ...],
        indices: tuple[Tensor, ...],
        wraps: bool = True,
        unique: bool = False,
    ) -> None:
        self.op = op
        self.named = named
        self.indices = indices
        self.wraps = wraps
        self.unique = unique

    def shape(self, found: Spec) -> tuple[int, ...]:
        """Return the shape of what is read from a tensor of this layout."""
        seen = self._seen(found)
        return (*seen.lead_shape, *self.indices[0]._spec.shape, *seen.trail_shape)

    def _seen(self, found: Spec) -> _Seen:
        key = (type(self), found, self.named)
        seen: _Seen = _kept(key, lambda: self._look(found))
        return seen

    def _look(self, found: Spec) -> _Seen:
        return _Seen(found, self.named)

    def _of_indices(self, seen: _Seen) -> tuple[int, ...]:
        return tuple(
            n
            for size, step in zip(seen.sizes, seen.steps, strict=True)
            for n in (size, size if self.wraps else 0, step)
        )

    def reading(self, found: Spec) -> tuple[Spec, Any]:
        """Return what reading from a layout gives, and the call that reads."""
        plan: tuple[Spec, Any] = _kept(
            (type(self), found, self.named, self.wraps, self.indices[0]._spec),
            lambda: self._reading(found),
        )
        return plan

    def _reading(self, found: Spec) -> tuple[Spec, Any]:
        seen = self._seen(found)
        made = contiguous_spec(found.dtype, self.shape(found), found.device)
        if not made.numel:
            return made, None
        m, (lead, trail) = self.indices[0]._spec.numel, seen.counts
        form, n, cost = "rows", seen.heads * m, 8 + seen.width
        if found.device.type != "cpu":
            form, n = "elements", made.numel
        elif lead and (seen.heads >= _MANY or seen.width < 4):
            form, n, cost = "lead", seen.heads, m * cost
        text = texts.take(
            CARRIERS[found.itemsize], form, lead, trail, seen.unit, len(self.named)
        )
        numbers = (*seen.numbers(m), *self._of_indices(seen))
        return made, launch.by_tasks(text, n, numbers, found.device, cost=cost)

    def read(self, x: Tensor) -> Tensor:
        """Return the elements at the places: (lead, index, trail), contiguous.

        Raises: DimError, an index out of range.
        """
        found = x._spec
        wanted, call = self.reading(found)
        made = empty(wanted)
        if call is not None:
            if type(found.device) is Twin:
                self._refuse_nothing(found)
            fault = _Fault(found.device)
            call.run(
                call.kernel, call.n, made._pointer, x._pointer, fault.address,
                *[i._pointer for i in self.indices], call.table,
            )  # fmt: skip
            if fault.happened():
                self.refuse(found)
        return made

    def write(self, x: Tensor, v: Tensor, how: str) -> None:
        """Store values, or join them with what is there, see `kernels`.

        `v` has x's dtype, and is contiguous in the shape that reading gives, or is one
        value. Raises: DimError, an index out of range; nothing is written then.
        """
        found = x._spec
        one = v._spec.numel == 1
        key = (
            type(self), how, found, self.indices[0]._spec, self.named, self.wraps,
            self.unique, one,
        )  # fmt: skip
        plan = _kept(key, lambda: self._writing(found, how, one))
        if plan is None:
            return
        if type(found.device) is Twin:
            self._refuse_nothing(found)
        places, call, writing = plan
        at = empty(places)
        fault = _Fault(found.device)
        call.run(
            call.kernel, call.n, at._pointer, fault.address,
            *[i._pointer for i in self.indices], call.table,
        )  # fmt: skip
        if fault.happened():
            self.refuse(found)
        _write(writing, x, at, v)

    def _writing(self, found: Spec, how: str, one: bool) -> Any:
        seen, m = self._seen(found), self.indices[0]._spec.numel
        if not (m and seen.heads and seen.width):
            return None
        call = launch.by_tasks(
            texts.locate(len(self.named)), m, self._of_indices(seen), found.device
        )
        places = contiguous_spec(dtypes.int64, (m,), found.device)
        return places, call, _writing(found, m, seen, how, self.unique, one)

    def _refuse_nothing(self, found: Spec) -> None:
        """Refuse dims of size 0, in which no index is right. Raises: DimError."""
        for dim, size in zip(self.named, self._seen(found).sizes, strict=True):
            if not size:
                raise _nowhere(self.op, dim)

    def refuse(self, found: Spec) -> NoReturn:
        """Raise what says which index is out of range. Raises: DimError."""
        seen = self._seen(found)
        for k, index in enumerate(self.indices):
            _refuse(self.op, index, self.named[k], seen.sizes[k], self.wraps)
        raise DimError(message(self.op, _CHANGED, "indices in range"))


class Flat(Spot):
    """Places named by one index that counts through all elements, in their order."""

    __slots__ = ()

    def __init__(self, op: str, index: Tensor) -> None:
        super().__init__(op, (0,), (index,))

    def _look(self, found: Spec) -> _Seen:
        return _Seen(contiguous_spec(found.dtype, (found.numel,), found.device), (0,))

    def read(self, x: Tensor) -> Tensor:
        """Return the elements at the places, in the shape of the index."""
        return super().read(x if x._spec.contiguous else x.detach().contiguous())

    def write(self, x: Tensor, v: Tensor, how: str) -> None:
        """Store values, or join them with what is there; as `Spot.write`."""
        if x._spec.contiguous:
            super().write(x, v, how)
            return
        copy = x.detach().contiguous()
        super().write(copy, v, how)
        x.detach().copy_(copy)


def _nowhere(op: str, dim: int) -> DimError:
    """Return the error of any index in a dim of size 0."""
    do = f"index is out of bounds for dimension {dim} with size 0."
    return DimError(message(op, f"an index for dimension {dim}", "a size above 0", do))


def _refuse(op: str, index: Tensor, dim: int, size: int, wraps: bool) -> None:
    """Raise if an index is out of range. Raises: DimError."""
    if not size and index._spec.numel and type(index._spec.device) is Twin:
        raise _nowhere(op, dim)
    values = transfer.values(index).reshape(-1)
    wrong = values[(values < (-size if wraps else 0)) | (values >= size)]
    if not len(wrong):
        return
    low = -size if wraps else 0
    do = f"index {wrong[0]} is out of bounds for dimension {dim} with size {size}"
    if not size:
        do = f"index is out of bounds for dimension with size 0: {do}"
    elif op in _SENTENCES:
        do = _SENTENCES[op].format(index=wrong[0], size=size, do=do)
    raise DimError(
        message(
            op,
            f"index {wrong[0]} for dimension {dim}",
            f"an index from {low} to {size - 1}" if size else "a size above 0",
            f"{do}.",
        )
    )


_SENTENCES = {
    "index_select": "index out of range in self: {do}",
    "index_copy_": "index_copy_(): {do}",
    "take": "out of range: tried to access index {index} on a tensor of {size} "
    "elements",
}
_SENTENCES["put_"] = _SENTENCES["take"]


def _write(writing: tuple[Any, bool], x: Tensor, at: Tensor, v: Tensor) -> None:
    """Perform what `_writing` has planned."""
    call, sorts = writing
    if sorts:
        at, order = sort(at, 0, False)
        pointers = [at._pointer, order._pointer]
    else:
        pointers = [at._pointer]
    call.run(call.kernel, call.n, x._pointer, *pointers, v._pointer, call.table)


def _writing(
    found: Spec, m: int, seen: _Seen, how: str, unique: bool, one: bool
) -> tuple[Any, bool]:
    """Return the call that writes, and whether it wants its places sorted."""
    kind = found.dtype.name
    if how == "set":
        kind = CARRIERS[found.itemsize]
        unique = unique or one
    else:
        dtypes.check_computes("adding by indices", found.dtype)
    if kind == "bool":
        kind, how = "uint8", {"add": "or", "max": "or", "mul": "min"}.get(how, how)
    lead, trail = seen.counts
    numbers = seen.numbers(m)
    if found.device.type != "cpu":
        n = seen.heads * m * seen.width
        if how == "set" and unique:
            text = texts.put_elements(kind, lead, trail, one)
        else:
            text = texts.put_segments(kind, lead, trail, how, one)
        call = launch.by_tasks(text, n, numbers, found.device)
        return call, not (how == "set" and unique)
    whole = 1 + sum(
        (size - 1) * step for size, step in zip(seen.sizes, seen.steps, strict=True)
    )
    form, n, piece, cost = "lead", seen.heads, whole, m * (8 + seen.width)
    threads = compiler.num_threads()
    if how == "set" and unique:
        if seen.heads < _MANY:
            form, n, cost = "rows", seen.heads * m, 8 + seen.width
    elif (
        1 < threads > seen.heads // 2
        and min(seen.width, whole) >= 16
        and m * seen.heads * seen.width >= _MANY_JOINED
    ):
        # each task looks at all places; where little trails them, that costs more, in
        # branches predicted wrongly, than threads gain
        parts = min(whole, 4 * threads)
        form, n, piece = "ranges", parts, -(-whole // parts)
        cost = seen.heads * m * (2 + -(-seen.width // parts))
    text = texts.put(kind, form, lead, trail, seen.unit, how, one)
    numbers = (*numbers, seen.heads, piece)
    return launch.by_tasks(text, n, numbers, found.device, cost=cost), False


_CHANGED = "indices that were changed meanwhile"


class Along:
    """Places named by an index along one dim: `x[i][index[i][j]]` for dim 1 and so on.

    The index is int64 and contiguous; each of its dims but `dim` is no larger than the
    tensor's, which was checked. `wraps`: negative ones count from the end.
    """

    __slots__ = ("dim", "indices", "op", "wraps")

    def __init__(self, op: str, dim: int, index: Tensor, wraps: bool = False) -> None:
        self.op = op
        self.dim = dim
        self.indices = (index,)
        self.wraps = wraps

    def shape(self, found: Spec) -> tuple[int, ...]:
        """Return the shape of what is read."""
        return tuple(self.indices[0]._spec.shape)

    def _call(self, found: Spec, read: bool) -> Any:
        index = self.indices[0]._spec
        return _kept(
            ("along", found, index, self.dim, self.wraps, read),
            lambda: self._planned(found, read),
        )

    def _planned(self, found: Spec, read: bool) -> Any:
        index = self.indices[0]._spec
        shape = tuple(index.shape)
        size = found.shape[self.dim] if found.ndim else 1
        step = found.strides[self.dim] if found.ndim else 1
        moving = tuple(0 if d == self.dim else s for d, s in enumerate(found.strides))
        sizes, steps = collapse(
            shape, [contiguous_strides(shape), moving], reorder=False
        )
        rows = found.device.type == "cpu" and sizes[-1] >= 8
        if rows and len(sizes) == 1:
            # one row would be one task
            rows = False
        text = texts.along(CARRIERS[found.itemsize] if read else "", len(sizes), rows)
        nest = [n for pair in zip(sizes, steps[1], strict=True) for n in pair]
        n = index.numel // sizes[-1] if rows else index.numel
        return launch.by_tasks(
            text, n, (*nest, size, size if self.wraps else 0, step), found.device,
            cost=(sizes[-1] if rows else 1) * (4 + 4 * len(sizes)),
        )  # fmt: skip

    def read(self, x: Tensor) -> Tensor:
        """Return the elements at the places, contiguous; as `Spot.read`."""
        return self._run(x._spec, x)

    def _run(self, found: Spec, x: Tensor | None) -> Tensor:
        index = self.indices[0]
        kind = dtypes.int64 if x is None else found.dtype
        made = empty(contiguous_spec(kind, tuple(index._spec.shape), found.device))
        if made._spec.numel:
            if not found.numel:
                _refuse(self.op, index, self.dim, 0, self.wraps)
            call = self._call(found, x is not None)
            fault = _Fault(found.device)
            data = () if x is None else (x._pointer,)
            call.run(
                call.kernel, call.n, made._pointer, *data, fault.address,
                index._pointer, call.table,
            )  # fmt: skip
            if fault.happened():
                size = found.shape[self.dim] if found.ndim else 1
                _refuse(self.op, index, self.dim, size, self.wraps)
                raise DimError(message(self.op, _CHANGED, "indices in range"))
        return made

    def write(self, x: Tensor, v: Tensor, how: str) -> None:
        """Store values, or join them with what is there; as `Spot.write`."""
        found = x._spec
        m = self.indices[0]._spec.numel
        if m:
            at = self._run(found, None)
            one = v._spec.numel == 1
            writing = _kept(
                ("scatter", how, found, m, one),
                lambda: _writing(found, m, _scattered(found), how, False, one),
            )
            _write(writing, x, at.reshape(-1), v)


def _scattered(found: Spec) -> _Seen:
    """Return a layout of which any element is a place."""
    whole = extent(found.shape, found.strides)
    return _Seen(contiguous_spec(found.dtype, (whole,), found.device), (0,))
