"""Scans along a dim: cumulative sums, products, extremes, logsumexp.

Their ways back are scans too, from the last element to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes, scanned_rows
from ..dtypes import FLOAT
from ..dtypes import find as find_dtype
from ..errors import DTypeError, message
from ..layout import normalize_dim
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .declare import attach, composed
from .pairs import Pair, stored
from .registry import function
from .selection import where
from .views import narrow


def _plain(x: Tensor) -> Tensor:
    """Return the values, contiguous and without history."""
    return x if x._spec.contiguous else x.detach().contiguous()


class _ResultNode(FunctionNode):
    """A node whose way back is given its own result, with its history, as the last."""

    __slots__ = ()

    def backward(self, grad: Any) -> Sequence[Tensor | None]:
        *given, held = self.check_saved()
        out = held.detach()
        out._node = self
        out._requires_grad = True
        return self.function(grad, *given, out)  # type: ignore[no-any-return]


def _recorded(
    result: Tensor, inputs: tuple[Tensor, ...], name: str, back: Any
) -> Tensor:
    """Record a way back that is given the cotangent, the inputs and the result."""
    result._node = _ResultNode(
        name, tuple([edge(x) for x in inputs]), back, (*inputs, result.detach())
    )
    result._requires_grad = True
    return result


def _wanted(x: Tensor) -> bool:
    return grad_mode.enabled and x.requires_grad


def running_sum(x: Tensor, dim: int, backwards: bool = False) -> Tensor:
    """Return the sums of a floating-point tensor so far, or of what is to come."""
    (result,) = scanned_rows.scan("sum", (_plain(x),), dim, x.dtype, backwards)
    if _wanted(x):
        result._node = FunctionNode(
            "CumsumBackward0",
            (edge(x),),
            lambda g: (running_sum(g, dim, not backwards),),
        )
        result._requires_grad = True
    return result


def recurrence(factor: Tensor, x: Tensor, dim: int, backwards: bool = False) -> Tensor:
    """Return h of h[k] = factor[k] * h[k - 1] + x[k] along a dim, h before it 0.

    Backwards, h[k] = factor[k] * h[k + 1] + x[k].
    """
    given = (_plain(x), _plain(factor))
    (h,) = scanned_rows.scan("recurrence", given, dim, x.dtype, backwards)
    if _wanted(x) or _wanted(factor):

        def back(
            g: Tensor, factor: Tensor, x: Tensor, h: Tensor
        ) -> tuple[Tensor, Tensor]:
            # what h[k] does to the next one is scaled by the next one's factor
            owed = recurrence(_moved(factor, dim, not backwards), g, dim, not backwards)
            return owed * _moved(h, dim, backwards), owed

        _recorded(h, (factor, x), "RecurrenceBackward0", back)
    return h


def _moved(x: Tensor, dim: int, down: bool, fill: float = 0.0) -> Tensor:
    """Return x moved on by one along a dim, or back by one; `fill` comes in."""
    n = x.shape[dim]
    shape = list(x.shape)
    shape[dim] = 1
    new = x.new_full(shape, fill)
    rest = narrow(x, dim, 1 if down else 0, n - 1)
    return function("cat")([rest, new] if down else [new, rest], dim)


def _result_dtype(name: str, x: Tensor, dtype: Any) -> Tensor:
    """Return what is scanned, in the dtype of the result or one that is read as it."""
    if dtype is None:
        return x
    wanted = find_dtype(dtype)
    if wanted is dtypes.bool_:
        raise DTypeError(
            message(
                name,
                "dtype=torch.bool",
                "a dtype of numbers",
                f"\"{name}_out_cpu\" not implemented for 'Bool'. Leave dtype away.",
            )
        )
    return x if x.dtype is wanted else x.to(wanted)


def _joined(name: str, kind: str, x: Tensor, dim: int, dtype: Any) -> Tensor:
    """Return sums or products; nothing is recorded."""
    out = dtypes.int64 if dtype is None and x.dtype.category != FLOAT else x.dtype
    if x._spec.ndim == 0:
        return function("clone")(x.detach()).to(out)
    return scanned_rows.scan(kind, (_plain(x),), dim, out)[0]


def _samples(make: Any) -> list[Any]:
    """Rows scanned whole, across memory, and in pieces on a device."""
    return [((make(5), 0), {}), ((make(3, 4), 0), {}), ((make(33), 0), {})]


@composed(
    "cumsum",
    samples=_samples,
    names="keep",
)
def cumsum(
    input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None
) -> Tensor:
    """Return the sums of the elements so far along a dim.

    Dtypes: integers and bool give int64, floats themselves, joined in float64; `dtype`
    casts first. Gradient: the same from the last to the first. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.cumsum(nt.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    d = normalize_dim("cumsum", dim, input.ndim)
    x = _result_dtype("cumsum", input, dtype)
    if x._spec.dtype.category == FLOAT and x._spec.ndim:
        result = running_sum(x, d)
    else:
        result = _joined("cumsum", "sum", x, d, dtype)
        if _wanted(x):
            result = x.clone()
    return result if out is None else stored("cumsum", out, (result,))[0]


def _cumprod_back(dim: int) -> Any:
    """Return the way back of a running product, exact where there are zeros.

    Element k is a factor of all products from k on: the product before it, times what
    the products after it are owed, each with the factors between.
    """

    def back(g: Tensor, x: Tensor, out: Tensor) -> tuple[Tensor]:
        owed = recurrence(_moved(x, dim, True), g, dim, True)
        return (owed * _moved(out, dim, False, 1.0),)

    return back


@composed(
    "cumprod",
    samples=_samples,
    names="keep",
)
def cumprod(
    input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None
) -> Tensor:
    """Return the products of the elements so far along a dim.

    Dtypes: as `cumsum`. Gradient: exact where there are zeros. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.cumprod(nt.tensor([1, 2, 3, 4]), 0)
    tensor([ 1,  2,  6, 24])
    """
    d = normalize_dim("cumprod", dim, input.ndim)
    x = _result_dtype("cumprod", input, dtype)
    result = _joined("cumprod", "prod", x, d, dtype)
    if _wanted(x):
        if x._spec.ndim == 0 or x._spec.numel == 0:
            result = x.clone()
        else:
            _recorded(result, (x,), "CumprodBackward0", _cumprod_back(d))
    return result if out is None else stored("cumprod", out, (result,))[0]


def _in_place(call: Any, name: str) -> None:
    def method(self: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        return self.copy_(call(self, dim, dtype=dtype))

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In-place form of `{name}`: stores the result in the tensor."
    attach(f"{name}_", method)


_in_place(cumsum, "cumsum")
_in_place(cumprod, "cumprod")


def _logcumsumexp_back(dim: int) -> Any:
    """Return the way back: each exponential's share of the sums from it on.

    What a sum is owed by the next is scaled by the ratio of the two, at most 1, so that
    nothing overflows.
    """

    def back(g: Tensor, x: Tensor, out: Tensor) -> tuple[Tensor]:
        n = x.shape[dim]
        known = function("isfinite")(out)
        safe = where(known, out, 0.0)
        gap = narrow(safe, dim, 0, n - 1) - narrow(safe, dim, 1, n - 1)
        ratio = where(narrow(known, dim, 0, n - 1), function("exp")(gap), 0.0)
        end = narrow(x, dim, 0, 1).detach() * 0.0
        ratio = function("cat")([ratio, where(end == end, end, 0.0)], dim)
        owed = recurrence(ratio, g, dim, True)
        return (owed * where(known, function("exp")(x - safe), 0.0),)

    return back


@composed(
    "logcumsumexp",
    dtypes="float",
    samples=_samples,
    names="keep",
)
def logcumsumexp(input: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
    """Return the logarithms of the sums so far of exponentials, without overflow.

    Dtypes: floats. Raises: DTypeError, integers; DimError.

    >>> import numtensor as nt
    >>> nt.logcumsumexp(nt.tensor([1000.0, 1000.0]), 0)
    tensor([1000.0000, 1000.6932])
    """
    d = normalize_dim("logcumsumexp", dim, input.ndim)
    if input._spec.dtype.category != FLOAT:
        raise DTypeError(
            message(
                "logcumsumexp",
                f"{input.dtype}",
                "a floating-point dtype",
                f"\"logcumsumexp_out_cpu\" not implemented for '{input.dtype}'. "
                "Use x.float().",
            )
        )
    if input._spec.ndim == 0:
        result = input.clone()
    else:
        x = _plain(input)
        (result,) = scanned_rows.scan("logsumexp", (x,), d, x.dtype)
        if _wanted(input) and x._spec.numel:
            _recorded(result, (input,), "LogcumsumexpBackward0", _logcumsumexp_back(d))
    return result if out is None else stored("logcumsumexp", out, (result,))[0]


class cummax_result(Pair):
    """Largest values so far and where they are."""


class cummin_result(Pair):
    """Smallest values so far and where they are."""


def _extreme(name: str, kind: str, pair: Any) -> Any:
    def call(input: Tensor, dim: int, *, out: Any = None) -> Any:
        d = normalize_dim(name, dim, input.ndim)
        if input._spec.ndim == 0:
            zero = function("zeros")((), dtype=dtypes.int64, device=input.device)
            return pair(*stored(name, out, (input.clone(), zero)))
        x = _plain(input)
        values, places = scanned_rows.scan(kind, (x,), d, x.dtype)
        if _wanted(input):
            shape = tuple(input.shape)

            def back(g: Tensor) -> tuple[Tensor]:
                zeros = g.new_zeros(shape)
                return (function("scatter_add")(zeros, d, places, g),)

            values._node = FunctionNode(
                f"{name.capitalize()}Backward0", (edge(input),), back
            )
            values._requires_grad = True
        return pair(*stored(name, out, (values, places)))

    call.__name__ = call.__qualname__ = name
    end = "largest" if kind == "max" else "smallest"
    call.__doc__ = f"""Return a pair: the {end} value so far along a dim, and where.

    Of equals the last counts; after a NaN all are NaN. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.{name}(nt.tensor([2, 1, 3]), 0).values
    tensor([{"2, 2, 3" if kind == "max" else "2, 1, 1"}])
    """
    return call


cummax = composed(
    "cummax", samples=_samples,
    names="keep",
)(_extreme("cummax", "max", cummax_result))  # fmt: skip
cummin = composed(
    "cummin", samples=_samples,
    names="keep",
)(_extreme("cummin", "min", cummin_result))  # fmt: skip
