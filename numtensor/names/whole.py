"""Operators whose named form takes other arguments than their plain one.

Each of these is a rule that makes the call itself: it gets the plain operator and the
arguments as the user gave them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import DimNameError, message
from ..tensor import Tensor
from . import rules, words
from .boundary import Named
from .tensors import NamedTensor, bare, named, without_names

Plain = Callable[..., Any]


def _whole(call: Any) -> Any:
    call.whole = True
    return call


def _dim(op: str, dim: Any, x: Tensor) -> int:
    if isinstance(dim, str):
        return words.position(op, dim, x.names)
    return rules.at(dim, x.ndim)


@_whole
def flatten(
    plain: Plain,
    input: Tensor,
    start_dim: Any = 0,
    end_dim: Any = -1,
    out_dim: str | None = None,
) -> Tensor:
    """flatten(dims, out_dim), flatten(start_dim, end_dim, out_dim), or without a name
    for the dim that results, which then has none."""
    if isinstance(start_dim, (tuple, list)):
        if out_dim is None:
            out_dim = end_dim if isinstance(end_dim, str) else None
        dims = [_dim("flatten", d, input) for d in start_dim]
        if not dims or any(b != a + 1 for a, b in zip(dims, dims[1:], strict=False)):
            raise DimNameError(
                message(
                    "flatten",
                    f"dims {words.text(start_dim)} of Tensor{words.text(input.names)}",
                    "neighbours, in the order of the tensor",
                    f"flatten(tensor, dims, out_dim): dims {words.text(start_dim)} "
                    f"must be consecutive in Tensor{words.text(input.names)}. Use "
                    "align_to first.",
                )
            )
        first, last = dims[0], dims[-1]
    else:
        first = _dim("flatten", start_dim, input)
        last = _dim("flatten", end_dim, input)
    names = input.names
    wanted: words.Names | None = None
    if 0 <= first <= last < len(names):
        wanted = (*names[:first], out_dim, *names[last + 1 :])
    elif not names:
        wanted = (out_dim,)
    if wanted is not None:
        wanted = words.checked("flatten", wanted, len(wanted))
    result = plain(bare(input), first, last)
    if wanted == input._spec.names and result.shape == input.shape:
        return input
    return _fresh(result, input, wanted)


def _fresh(result: Tensor, input: Tensor, names: Any) -> Tensor:
    """Name a result, by way of a view where the operator returned its input."""
    if result is input:
        result = result.view_as(result)
    return named(result, names)


def named_sizes(sizes: Any) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Return the names and sizes of (name, size) pairs or a mapping, None of sizes.

    Raises: DimNameError, neither.
    """
    if isinstance(sizes, Mapping):
        sizes = tuple(sizes.items())
    if not isinstance(sizes, (tuple, list)) or not any(
        isinstance(s, (tuple, list)) for s in sizes
    ):
        return None
    if not all(isinstance(s, (tuple, list)) and len(s) == 2 for s in sizes):
        raise DimNameError(
            message("unflatten", f"sizes {sizes!r}", "sizes, or (name, size) pairs")
        )
    return tuple(s[0] for s in sizes), tuple(s[1] for s in sizes)


@_whole
def unflatten(plain: Plain, input: Tensor, dim: Any, sizes: Any) -> Tensor:
    """unflatten(dim, ((name, size), ...)), or sizes alone: new dims without names."""
    pairs = named_sizes(sizes)
    names: Sequence[str | None]
    if pairs is not None:
        names, sizes = pairs
    else:
        names = (None,) * len(sizes)
    d = _dim("unflatten", dim, input)
    own = input.names
    wanted = (*own[:d], *names, *own[d + 1 :])
    words.checked("unflatten", wanted, len(wanted))
    return _fresh(plain(bare(input), d, sizes), input, wanted)


@_whole
def stack(
    plain: Plain,
    tensors: Any,
    dim: Any = 0,
    *,
    out: Tensor | None = None,
    **keywords: Any,
) -> Tensor:
    """The names unified, and the new dim: without a name at `dim`, or in front with
    the name that `dim` is."""
    given = [x for x in tensors if isinstance(x, Tensor)]
    names = rules.unify_all("stack", given)
    new = dim if isinstance(dim, str) else None
    place = 0 if isinstance(dim, str) else dim
    wanted = rules.inserted(names, place, new)
    words.checked("stack", wanted, len(wanted))
    enter = Named("stack", plain, lambda args: wanted)
    result = enter(tensors, place, out=out, **keywords)
    return named(result, wanted) if new is not None else result


@_whole
def setitem(plain: Plain, self: Tensor, key: Any, value: Any) -> None:
    """Assign to a part; a value's names must match those of the part."""
    if isinstance(value, NamedTensor):
        part = rules.indexed(self.names, key)
        if part is not None:
            other = value.names[max(0, value.ndim - len(part)) :]
            words.unified("setitem", part, other, "assign to")
    enter = Named("setitem", plain, "in place")
    with without_names(self):
        enter(self, key, bare(value) if isinstance(value, Tensor) else value)


def becomes(view: Plain, rule: rules.Rule) -> Any:
    """Return the rule of the in-place form of a view: it has the names of the view."""
    enter = Named(view.__name__, view, rule)

    @_whole
    def call(plain: Plain, self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        args, keywords, bound = enter.translated((self, *args), keywords)
        names = rule(bound)
        with without_names(self):
            plain(*args, **keywords)
        return named(self, names)

    return call
