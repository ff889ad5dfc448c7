"""Products summed over shared dims: einsum, tensordot, inner, and their relatives.

Each comes down to matrix products of tensors whose dims were permuted and merged.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import layout
from ..errors import DTypeError, ShapeError, message
from ..names import rules
from ..tensor import Tensor
from .declare import composed
from .linear import bmm, matmul, mm, mv
from .views import diagonal, expand, permute, reshape, squeeze, unsqueeze

_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def _fault(got: str, do: str) -> ShapeError:
    return ShapeError(
        message("einsum", got, "an equation such as 'ij,jk->ik' that fits", do)
    )


def _labels(text: str, ndim: int, wide: int, where: str) -> list[Any]:
    """Return the label of each dim; those of an ellipsis are numbers, from the right.

    `wide` is how many dims an ellipsis of the output has.
    """
    left, dots, right = text.partition("...")
    for part in (left, right):
        for letter in part:
            if letter not in _LETTERS:
                raise _fault(
                    f"the subscript {letter!r} in {where}",
                    f"found '.' for {where} that is not part of the one ellipsis it "
                    "may have."
                    if letter == "."
                    else "invalid subscript given, subscripts must be in [a-zA-Z].",
                )
    if not dots:
        return list(text)
    inside = wide if ndim < 0 else ndim - len(left) - len(right)
    if inside < 0:
        return [*left, *right]
    return [*left, *range(-inside, 0), *right]


@functools.lru_cache(maxsize=256)
def _parse(equation: str, ranks: tuple[int, ...]) -> tuple[list[list[Any]], Any]:
    """Return the labels of the dims of operands of these ranks, and of the result's.

    They are kept for the next call, which must not change them.
    """
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    parts = given.split(",")
    if len(parts) != len(ranks):
        raise _fault(
            f"{len(parts)} subscripts and {len(ranks)} operands",
            "more operands were provided than specified in the equation."
            if len(parts) < len(ranks)
            else "fewer operands were provided than specified in the equation.",
        )
    labels = []
    for k, (part, rank) in enumerate(zip(parts, ranks, strict=True)):
        found = _labels(part, rank, 0, f"operand {k}")
        if len(found) != rank:
            raise _fault(
                f"subscripts {part!r} for operand {k} with {rank} dims",
                f"the number of subscripts in the equation ({len(found)}) does not "
                f"match the number of dimensions ({rank}) for operand {k} and no "
                "ellipsis was given.",
            )
        labels.append(found)
    everything = [name for found in labels for name in found]
    wide = -min((n for n in everything if isinstance(n, int)), default=0)
    if arrow:
        result = _labels(wanted, -1, wide, "the output")
        for name in result:
            if result.count(name) > 1 or name not in everything:
                raise _fault(
                    f"the output subscript {name!r}",
                    f"output subscript {name} appears more than once in the output."
                    if result.count(name) > 1
                    else f"output subscript {name} does not appear in the equation "
                    "for any input operand.",
                )
    else:
        once = sorted(n for n in everything if everything.count(n) == 1 and n in _ORDER)
        result = [*range(-wide, 0), *once]
    return labels, result


_ORDER = set(_LETTERS)


def _sublists(operands: Sequence[Any]) -> tuple[str, list[Tensor]]:
    """Turn `einsum(x, [0, 1], y, [1, 2], [0, 2])` into an equation and operands."""

    def text(numbers: Any) -> str:
        if not isinstance(numbers, (list, tuple)):
            raise _fault(
                f"subscripts of type {type(numbers).__name__}",
                "After each operand comes a list of its subscripts.",
            )
        for n in numbers:
            if n is not Ellipsis and not (isinstance(n, int) and 0 <= n < 52):
                raise _fault(
                    f"the subscript {n!r}",
                    "subscript in subscript list is not within the valid range "
                    "[0, 52).",
                )
        return "".join("..." if n is Ellipsis else _LETTERS[n] for n in numbers)

    pairs = list(operands)
    tail = "->" + text(pairs.pop()) if len(pairs) % 2 else ""
    return ",".join(text(n) for n in pairs[1::2]) + tail, pairs[::2]


def _names(args: dict[str, Any]) -> Any:
    """Names follow the labels, and have to agree where one label has several."""
    equation, operands = _given(args["equation"], args["operands"])
    labels, result = _parse(equation, tuple(x.ndim for x in operands))
    known: dict[Any, str] = {}
    for found, x in zip(labels, operands, strict=True):
        for label, name in zip(found, x.names, strict=True):
            if name is not None and known.setdefault(label, name) != name:
                raise _fault(
                    f"dims named {known[label]!r} and {name!r} under the subscript "
                    f"{label!r}, from operands named "
                    + " and ".join(str(tuple(t.names)) for t in operands),
                    "Rename one of them, or give it another subscript.",
                )
    return tuple(known.get(label) for label in result)


def _given(equation: Any, operands: Sequence[Any]) -> tuple[str, list[Tensor]]:
    if isinstance(equation, Tensor):
        equation, operands = _sublists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    for x in operands if isinstance(equation, str) else [equation]:
        if not isinstance(x, Tensor):
            raise DTypeError(
                message("einsum", f"a {type(x).__name__}", "Tensors", "Use nt.tensor.")
            )
    if not operands:
        raise _fault(
            "no operands",
            "must specify the equation string and at least one operand, or at least "
            "one operand and its subscripts list.",
        )
    return equation, list(operands)


@composed(
    "einsum",
    method=False,
    names=_names,
    samples=lambda make: [
        (("ij,jk->ik", make(2, 3), make(3, 2)), {}),
        (("ii,i->i", make(3, 3), make(3)), {}),
        (("...chw,c->...hw", make(2, 3, 2, 2), make(3)), {}),
        (("ij,j,ik->k", make(2, 3), make(3), make(2, 2)), {}),
        (("ij->", make(2, 3)), {}),
        (("bi,bj->bij", make(2, 2), make(2, 3)), {}),
    ],
    reference=np.einsum,
)
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Return the sum of products that an equation of subscripts names.

    A letter names a dim; dims with one letter run together; letters that the output
    does not have are summed over. '...' stands for dims that broadcast. A letter twice
    in one operand takes its diagonal. Also `einsum(x, [0, 1], y, [1, 2], [0, 2])`.

    Three operands or more are contracted pair by pair, in the order that NumPy's greedy
    search for few multiplications finds. Raises: ShapeError, an equation that does not
    fit the operands.

    >>> import numtensor as nt
    >>> nt.einsum("ij,j->i", nt.ones(2, 3), nt.tensor([1.0, 2.0, 3.0]))
    tensor([6., 6.])
    """
    equation, tensors = _given(equation, operands)
    labels, result = _parse(equation, tuple(x.ndim for x in tensors))
    sizes: dict[Any, int] = {}
    for k, (found, x) in enumerate(zip(labels, tensors, strict=True)):
        own: dict[Any, int] = {}
        for name, size in zip(found, x.shape, strict=True):
            if own.setdefault(name, size) != size:
                raise _fault(
                    f"operand {k} of shape {list(x.shape)}",
                    f"subscript {name} is repeated for operand {k} but the sizes don't "
                    f"match, {size} != {own[name]}.",
                )
            known = sizes.setdefault(name, size)
            if known == 1:
                sizes[name] = size
            elif size not in (known, 1):
                raise _fault(
                    f"operand {k} of shape {list(x.shape)}",
                    f"subscript {name} has size {size} for operand {k} which does not "
                    f"broadcast with previously seen size {known}.",
                )
    terms = [_simple(x, found, sizes) for x, found in zip(tensors, labels, strict=True)]
    for a, b in _order(terms, result, sizes):
        second, first = terms.pop(max(a, b)), terms.pop(min(a, b))
        kept = set(result).union(*(names for _, names in terms))
        terms.append(_pair(first, second, kept, sizes))
    x, found = terms[0]
    gone = [d for d, name in enumerate(found) if name not in result]
    if gone:
        x = x.sum(tuple(gone))
        found = [name for name in found if name in result]
    # a subscript that only had dims of size 1 in its place was squeezed away
    shown = [name for name in result if name in found]
    order = tuple(found.index(name) for name in shown)
    if order != tuple(range(len(order))):
        x = permute(x, order)
    for d, name in enumerate(result):
        if name not in found:
            x = unsqueeze(x, d)
    return x


Term = tuple[Tensor, list[Any]]


def _simple(x: Tensor, names: list[Any], sizes: dict[Any, int]) -> Term:
    """Take diagonals for repeated labels, and drop dims of size 1 that broadcast."""
    names = list(names)
    if 1 not in x.shape and len(set(names)) == len(names):
        return x, names
    for d in reversed(range(len(names))):
        if x.shape[d] == 1 and (sizes[names[d]] != 1 or names.count(names[d]) > 1):
            x = squeeze(x, d)
            del names[d]
    d = 0
    while d < len(names):
        again = [k for k in range(d + 1, len(names)) if names[k] == names[d]]
        if again:
            x = diagonal(x, 0, d, again[0])
            name = names[d]
            del names[again[0]], names[d]
            names.append(name)
        else:
            d += 1
    return x, names


def _order(
    terms: list[Term], result: list[Any], sizes: dict[Any, int]
) -> list[tuple[int, int]]:
    """Return which pairs to contract, one after the other."""
    if len(terms) < 3:
        return [(0, 1)] * (len(terms) - 1)
    numbers = {name: k for k, name in enumerate(sizes)}
    given: list[Any] = []
    for x, names in terms:
        given += [np.broadcast_to(0.0, tuple(x.shape)), [numbers[n] for n in names]]
    present = {n for _, names in terms for n in names}
    given.append([numbers[n] for n in result if n in present])
    path = np.einsum_path(*given, optimize="greedy")[0][1:]
    pairs: list[tuple[int, int]] = []
    for step in path:
        # more than two at once: one after the other, the result being the last
        left = len(terms) - len(pairs)
        chosen = sorted(step, reverse=True)
        pairs.append((chosen[1], chosen[0]))
        for place in chosen[2:]:
            left -= 1
            pairs.append((place, left - 1))
    return pairs


def _pair(first: Term, second: Term, kept: set[Any], sizes: dict[Any, int]) -> Term:
    """Contract two operands: labels in `kept` stay."""
    x, y = first[0], second[0]
    mine, theirs = list(first[1]), list(second[1])
    for names, others in ((mine, theirs), (theirs, mine)):
        alone = [d for d, n in enumerate(names) if n not in others and n not in kept]
        if alone:
            if names is mine:
                x = x.sum(tuple(alone))
            else:
                y = y.sum(tuple(alone))
            names[:] = [n for d, n in enumerate(names) if d not in alone]
    batch = [n for n in mine if n in theirs and n in kept]
    joined = [n for n in mine if n in theirs and n not in kept]
    rows = [n for n in mine if n not in theirs]
    columns = [n for n in theirs if n not in mine]
    if not joined:
        full = batch + rows + columns
        return _aligned(x, mine, full) * _aligned(y, theirs, full), full

    def size(names: list[Any]) -> int:
        return layout.numel([sizes[n] for n in names])

    stack = (size(batch),) if batch else ()
    depth = size(joined)
    left = _ordered(x, mine, batch + rows + joined)
    right = _ordered(y, theirs, batch + joined + columns)
    product = (bmm if batch else mm)(
        reshape(left, (*stack, size(rows), depth)),
        reshape(right, (*stack, depth, size(columns))),
    )
    names = batch + rows + columns
    return reshape(product, tuple(sizes[n] for n in names)), names


def _ordered(x: Tensor, names: list[Any], wanted: list[Any]) -> Tensor:
    order = tuple(names.index(n) for n in wanted)
    return x if order == tuple(range(len(order))) else permute(x, order)


def _aligned(x: Tensor, names: list[Any], full: list[Any]) -> Tensor:
    """Return x with its dims in the order of `full`, size 1 where it has none."""
    x = _ordered(x, names, [n for n in full if n in names])
    for d, name in enumerate(full):
        if name not in names:
            x = unsqueeze(x, d)
    return x


def _tensordot_dims(a: Tensor, b: Tensor, dims: Any) -> tuple[list[int], list[int]]:
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            raise ShapeError(
                message(
                    "tensordot",
                    f"dims={dims} for a {a.ndim}-d and a {b.ndim}-d tensor",
                    "0 to the fewer of their dims",
                    f"tensordot expects dims >= 0, but got dims={dims}."
                    if dims < 0
                    else "tensordot expects dims < ndim_a or ndim_b, but got "
                    f"dims={dims}.",
                )
            )
        return list(range(a.ndim - dims, a.ndim)), list(range(dims))
    first, second = (list(d) if not isinstance(d, int) else [d] for d in dims)
    if len(first) != len(second):
        raise ShapeError(
            message(
                "tensordot",
                f"dims {first} and {second}",
                "as many of each",
                "both dimension lists should have same length.",
            )
        )
    mine = layout.normalize_dims("tensordot", first, a.ndim)
    theirs = layout.normalize_dims("tensordot", second, b.ndim)
    return list(mine), list(theirs)


def _tensordot_names(args: dict[str, Any]) -> Any:
    a, b = args["a"], args["b"]
    mine, theirs = _tensordot_dims(a, b, args.get("dims", 2))
    left = [n for d, n in enumerate(a.names) if d not in mine]
    return (*left, *(n for d, n in enumerate(b.names) if d not in theirs))


@composed(
    "tensordot",
    method=False,
    names=_tensordot_names,
    samples=lambda make: [
        ((make(2, 3, 2), make(3, 2, 2)), {}),
        ((make(2, 3), make(4, 3), ([1], [1])), {}),
        ((make(2), make(3), 0), {}),
    ],
    reference=lambda a, b, dims=2: np.tensordot(a, b, dims),
)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Return the products of a and b summed over pairs of dims.

    `dims` is how many: the last of a with the first of b; or two lists of dims. Raises:
    ShapeError, sizes that differ and of which none is 1.
    """
    mine, theirs = _tensordot_dims(a, b, dims)
    for d, e in zip(mine, theirs, strict=True):
        if a.shape[d] != b.shape[e] and 1 not in (a.shape[d], b.shape[e]):
            raise ShapeError(
                message(
                    "tensordot",
                    f"dims {mine} of {tuple(a.shape)} and {theirs} of {tuple(b.shape)}",
                    "equal sizes",
                    "contracted dimensions need to match, but first has size "
                    f"{a.shape[d]} in dim {d} and second has size {b.shape[e]} in dim "
                    f"{e}.",
                )
            )
    left = list(range(a.ndim))
    right = [a.ndim + e for e in range(b.ndim)]
    for d, e in zip(mine, theirs, strict=True):
        right[e] = d
    kept = set(left).symmetric_difference(right)
    sizes = dict(zip(right, b.shape, strict=True))
    for label, size in zip(left, a.shape, strict=True):
        if sizes.get(label, 1) == 1:
            sizes[label] = size
    first, second = _simple(a, left, sizes), _simple(b, right, sizes)
    return _pair(first, second, kept, sizes)[0]


@composed(
    "inner",
    names=lambda args: (
        "unify"
        if args["input"].ndim == 0 or args["other"].ndim == 0
        else (*args["input"].names[:-1], *args["other"].names[:-1])
    ),
    samples=lambda make: [((make(2, 3), make(4, 3)), {}), ((make(3), make(3)), {})],
    reference=np.inner,
)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Return the products of input and other summed over the last dim of both."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(
            message(
                "inner",
                f"shapes {list(input.shape)} and {list(other.shape)}",
                "equal last sizes",
                "inner() the last dimension must match on both input tensors but got "
                f"shapes {list(input.shape)} and {list(other.shape)}.",
            )
        )
    return tensordot(input, other, ([input.ndim - 1], [other.ndim - 1]))


@composed(
    "vdot", names="drop", samples=lambda make: [((make(3), make(3)), {})],
    reference=np.vdot,
)  # fmt: skip
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    if input.ndim != 1 or other.ndim != 1:
        raise _no_vectors("vdot", input, other)
    return matmul(input, other)


def _no_vectors(op: str, a: Tensor, b: Tensor) -> ShapeError:
    ranks = f"{a.ndim}D and {b.ndim}D"
    do = f"1D tensors expected, but got {ranks} tensors."
    return ShapeError(message(op, f"{ranks} tensors", "two vectors", do))


@composed(
    "kron", names="drop",
    samples=lambda make: [((make(2, 2), make(2, 3)), {}), ((make(2), make(2, 2)), {})],
    reference=np.kron,
)  # fmt: skip
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Return the Kronecker product."""
    n = max(input.ndim, other.ndim)
    a = reshape(input, (1,) * (n - input.ndim) + tuple(input.shape))
    b = reshape(other, (1,) * (n - other.ndim) + tuple(other.shape))
    wide_a = [s for size in a.shape for s in (size, 1)]
    wide_b = [s for size in b.shape for s in (1, size)]
    full = reshape(a, tuple(wide_a)) * reshape(b, tuple(wide_b))
    return reshape(full, tuple(p * q for p, q in zip(a.shape, b.shape, strict=True)))


def _plus(op: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """Return beta * input + alpha * product, as large as the product."""
    for name, factor in (("beta", beta), ("alpha", alpha)):
        if type(factor) is float and not product.is_floating_point():
            do = (
                f"For integral input tensors, argument {name} must not be a floating "
                "point number."
            )
            raise DTypeError(message(op, f"{name}={factor}", "an integer", do))
    if input._spec.shape != product._spec.shape:
        input = expand(input, product.shape)
    if alpha != 1:
        product = product * alpha
    if beta == 0:  # NaN in input does not count
        return product
    return product + (input if beta == 1 else input * beta)


@composed(
    "addmm",
    samples=lambda make: [((make(2, 2), make(2, 3), make(3, 2)), {})],
    names=rules.add_product,
)
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return beta * input + alpha * (mat1 @ mat2)."""
    return _plus("addmm", input, mm(mat1, mat2), beta, alpha)


@composed(
    "addmv", names=lambda args: args["mat"].names[:1],
    samples=lambda make: [((make(2), make(2, 3), make(3)), {})],
)  # fmt: skip
def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return beta * input + alpha * (mat @ vec)."""
    return _plus("addmv", input, mv(mat, vec), beta, alpha)


@composed(
    "addr", names="drop",
    samples=lambda make: [((make(2, 3), make(2), make(3)), {})],
)  # fmt: skip
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return beta * input + alpha * the outer product of two vectors."""
    if vec1.ndim != 1 or vec2.ndim != 1:
        raise _no_vectors("addr", vec1, vec2)
    return _plus("addr", input, unsqueeze(vec1, 1) * vec2, beta, alpha)


@composed(
    "baddbmm", names="drop",
    samples=lambda make: [((make(2, 2, 2), make(2, 2, 3), make(2, 3, 2)), {})],
)  # fmt: skip
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return beta * input + alpha * (batch1 @ batch2), matrix by matrix."""
    return _plus("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@composed(
    "addbmm", names="drop",
    samples=lambda make: [((make(2, 2), make(2, 2, 3), make(2, 3, 2)), {})],
)  # fmt: skip
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return beta * input + alpha * the sum of batch1 @ batch2 over the batch."""
    return _plus("addbmm", input, bmm(batch1, batch2).sum(0), beta, alpha)
