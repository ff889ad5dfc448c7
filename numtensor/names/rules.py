"""The rules by which operators name the dims of their results.

A declaration names its rule: a word of `RULES`, or a function that gets the operator's
arguments by name, dims as integers and tensors with their names, and returns names, a
list with the names of each result, or None. A rule only refuses names; sizes and dims
that do not fit are left for the operator to refuse. No tensor is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from . import words
from .words import Names

Arguments = dict[str, Any]
Result = Names | list[Names | None] | None
Rule = Callable[[Arguments], Result]


def tensors(args: Arguments) -> list[Tensor]:
    """Return the tensors among the arguments, and in lists of them, but for `out`."""
    found: list[Tensor] = []
    for key, value in args.items():
        if key == "out":
            continue
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found.extend(v for v in value if isinstance(v, Tensor))
    return found


def at(dim: Any, n: int) -> int:
    """Return a dim counted from the front; what is out of range stays so."""
    return dim + n if dim < 0 else int(dim)


def _ints(value: Any) -> tuple[int, ...]:
    """Return dims or sizes given as f(1, 2), f((1, 2)) or f(1)."""
    if isinstance(value, (tuple, list)):
        if len(value) == 1 and isinstance(value[0], (tuple, list)):
            value = value[0]
        return tuple(int(v) for v in value)
    return (int(value),)


# What most operators do


def keep(args: Arguments) -> Names:
    """The names of the first tensor."""
    return tensors(args)[0].names


def drop(args: Arguments) -> Result:
    """No names."""
    return None


def unify(args: Arguments) -> Result:
    """What the names of all tensors broadcast to."""
    return unify_all(args["op"], tensors(args))


def unify_all(op: str, given: Sequence[Tensor]) -> Names:
    names: Names = ()
    for x in given:
        names = words.unified(op, names, x.names)
    return names


def reduce(args: Arguments) -> Names:
    """The names of the first tensor without those of `dim`; all with keepdim."""
    names = tensors(args)[0].names
    dim = args.get("dim")
    if dim is None or isinstance(dim, bool):
        dim = args.get("axis")
    if args.get("keepdim") or args.get("keepdims"):
        return names
    if dim is None or dim == () or dim == []:
        return ()
    return _without(names, _ints(dim))


def _without(names: Names, dims: Sequence[int]) -> Names:
    gone = {at(d, len(names)) for d in dims}
    return tuple(name for k, name in enumerate(names) if k not in gone)


#: "given" is for factories: the names are those of their argument `names`
RULES: dict[str, Rule] = {
    "keep": keep,
    "drop": drop,
    "unify": unify,
    "reduce": reduce,
    "given": drop,
}


def extreme(args: Arguments) -> Result:
    """max and min: a second tensor is compared with, a dim is reduced."""
    if args.get("other") is not None or isinstance(args.get("dim"), Tensor):
        return unify(args)
    return reduce(args)


def quantile(args: Arguments) -> Result:
    """As a reduction; several quantiles are a new dim, in front and without a name."""
    names = reduce(args)
    q = args.get("q")
    return (None, *names) if isinstance(q, Tensor) and q.ndim else names


# Views


def reordered(order: Callable[[Arguments, int], Sequence[int]]) -> Rule:
    """Return the rule of a view whose dim k is the tensor's dim order[k]."""

    def rule(args: Arguments) -> Result:
        names = keep(args)
        n = len(names)
        picked = [at(d, n) for d in order(args, n)]
        if sorted(picked) != list(range(n)):
            return None  # refused by the operator
        return tuple(names[d] for d in picked)

    return rule


def _swapped(args: Arguments, n: int) -> Sequence[int]:
    order = list(range(n))
    a, b = at(args["dim0"], n), at(args["dim1"], n)
    if 0 <= a < n and 0 <= b < n:
        order[a], order[b] = b, a
    return order


def _moved(args: Arguments, n: int) -> Sequence[int]:
    source = [at(d, n) for d in _ints(args["source"])]
    target = [at(d, n) for d in _ints(args["destination"])]
    order = [d for d in range(n) if d not in source]
    for to, of in sorted(zip(target, source, strict=False)):
        order.insert(to, of)
    return order


def _last_two(args: Arguments, n: int) -> Sequence[int]:
    order = list(range(n))
    return order[:-2] + order[:-3:-1]


transpose = reordered(_swapped)
permute = reordered(lambda args, n: _ints(args["dims"]))
movedim = reordered(_moved)
reverse = reordered(lambda args, n: range(n - 1, -1, -1))
transpose_last = reordered(_last_two)


def reshape(args: Arguments) -> Result:
    """A dim keeps its name if it is there again: as long, with as many elements behind
    each of its indices. Others have none."""
    x = tensors(args)[0]
    wanted: tuple[int, ...]
    if "other" in args:
        wanted = tuple(args["other"].shape)
    elif "shape" not in args and "size" not in args:
        wanted = (x.numel(),)  # ravel
    else:
        shape: Any = args["shape"] if "shape" in args else args["size"]
        if not all(isinstance(s, (int, tuple, list)) for s in shape):
            return x.names  # view(dtype)
        wanted = _ints(shape)
    return survivors(x.names, tuple(x.shape), wanted)


def survivors(names: Names, shape: Sequence[int], wanted: Sequence[int]) -> Names:
    """Return the names of dims that a change of shape leaves as they are.

    >>> survivors(("N", "C", "L"), (2, 3, 4), (2, 12))
    ('N', None)
    """
    total = math.prod(shape)
    known = math.prod(s for s in wanted if s >= 0)
    sizes = [s if s >= 0 else total // (known or 1) for s in wanted]
    here = [(n, math.prod(shape[k + 1 :])) for k, n in enumerate(shape)]
    result: list[str | None] = []
    start = 0
    for k, size in enumerate(sizes):
        place = (size, math.prod(sizes[k + 1 :]))
        if place in here[start:]:
            found = here.index(place, start)
            result.append(names[found])
            start = found + 1
        else:
            result.append(None)
    return tuple(result)


def expand(args: Arguments) -> Result:
    """New dims in front have no names."""
    names = tensors(args)[0].names
    size = _ints(args.get("sizes", args.get("size")))
    return (None,) * (len(size) - len(names)) + names


def sum_to_size(args: Arguments) -> Result:
    """The names from the right."""
    names = tensors(args)[0].names
    size = _ints(args["size"])
    return names[len(names) - len(size) :]


def squeeze(args: Arguments) -> Result:
    """The names without those of the dims that go."""
    x = tensors(args)[0]
    n = x.ndim
    dim = args.get("dim")
    dims = range(n) if dim is None else [at(d, n) for d in _ints(dim)]
    return _without(x.names, [d for d in dims if 0 <= d < n and x.shape[d] == 1])


def unsqueeze(args: Arguments) -> Result:
    """The new dim has no name."""
    names = tensors(args)[0].names
    return inserted(names, args["dim"])


def inserted(names: Names, dim: int, name: str | None = None) -> Names:
    """Return names with one more at `dim`."""
    d = at(dim, len(names) + 1)
    return (*names[:d], name, *names[d:])


def remove(args: Arguments) -> Result:
    """The names without that of `dim`: select, unbind."""
    return _without(tensors(args)[0].names, (args["dim"],))


def diagonal(args: Arguments) -> Result:
    """The names without those of the two dims; the diagonal, last, has none."""
    names = tensors(args)[0].names
    return (*_without(names, (args["dim1"], args["dim2"])), None)


# Indexing


def index(args: Arguments) -> Result:
    """Integers take a dim away, slices and a list or tensor of one dim keep its name,
    None and what masks and several lists select have none."""
    x = args["self"]
    key = args["key"]
    return indexed(x.names, key)


def indexed(names: Names, key: Any) -> Names | None:
    """Return the names of x[key] for x with these names."""
    parts = list(key) if isinstance(key, tuple) else [key]
    used = sum(_consumed(p) for p in parts)
    whole = [k for k, p in enumerate(parts) if p is Ellipsis]
    if not whole:
        whole = [len(parts)]
        parts.append(Ellipsis)
    k = whole[0]
    parts[k : k + 1] = [slice(None)] * (len(names) - used)
    result: list[str | None] = []
    places: list[int] = []  # where in `result` the lists and masks stand
    picked: list[tuple[Any, str | None]] = []
    d = 0
    for k, part in enumerate(parts):
        count = _consumed(part)
        if part is None:
            result.append(None)
        elif _is_list(part):
            own = names[d] if count == 1 and d < len(names) else None
            picked.append((part, own))
            places.append(len(result) if not places or _beside(parts, k) else -1)
        elif isinstance(part, slice):
            result.append(names[d] if d < len(names) else None)
        d += count
    if picked:
        rank = max(_rank(p) for p, _ in picked)
        alone = len(picked) == 1 and rank == 1
        new = [picked[0][1]] if alone else [None] * rank
        where = 0 if -1 in places else places[0]
        result[where:where] = new
    return tuple(result)


def _beside(parts: list[Any], k: int) -> bool:
    """Whether the list before this one is its neighbour, integers apart."""
    k -= 1
    while k >= 0 and isinstance(parts[k], int) and not isinstance(parts[k], bool):
        k -= 1
    return k >= 0 and _is_list(parts[k])


def _is_list(part: Any) -> bool:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return False
    if isinstance(part, bool):
        return True
    rank = getattr(part, "ndim", None)
    if rank == 0:
        return "bool" in str(part.dtype)
    return rank is not None or isinstance(part, (list, tuple, range))


def _is_mask(part: Any) -> bool:
    if isinstance(part, bool):
        return True
    if hasattr(part, "dtype"):
        return str(part.dtype).removeprefix("torch.") in ("bool", "uint8")
    while isinstance(part, (list, tuple)) and part:
        part = part[0]
    return isinstance(part, bool)


def _depth(part: Any) -> int:
    if hasattr(part, "ndim"):
        return int(part.ndim)
    depth = 0
    while isinstance(part, (list, tuple, range)):
        depth += 1
        part = part[0] if len(part) else None
    return depth


def _consumed(part: Any) -> int:
    """How many dims a part of a key takes."""
    if part is None or part is Ellipsis:
        return 0
    if _is_list(part) and _is_mask(part):
        return _depth(part)
    return 1


def _rank(part: Any) -> int:
    return 1 if _is_mask(part) else _depth(part)


# Joining and products


def cat(args: Arguments) -> Result:
    """The names of all tensors unified."""
    given = [x for x in tensors(args) if x.shape != (0,) or x.has_names()]
    return unify_all(args["op"], given)


def matmul(args: Arguments) -> Result:
    """What is left of the two matrices' names, after those of the stacks unified.

    The names of dims that are summed over need not match.
    """
    a, b = tensors(args)[:2]
    return product(args["op"], a.names, b.names)


def product(op: str, a: Names, b: Names) -> Names | None:
    """Return the names of a @ b.

    Raises: DimNameError, a name that stands for a matrix dim in one and for a stack's
    in the other, or twice in the result.
    """
    if not a or not b:
        return None
    stacks, matrices = (a[:-2], b[:-2]), (a[-2:], b[-2:])
    for one, two, which in (
        (stacks[0], matrices[1], ("first", "second")),
        (stacks[1], matrices[0], ("second", "first")),
    ):
        twice = [name for name in one if name is not None and name in two]
        if twice:
            raise words.clash(
                op, a, b,
                f"Misaligned dims when batch matrix multiplying Tensor{words.text(a)} "
                f"and Tensor{words.text(b)}: {twice[0]!r} is a dim of the stack in the "
                f"{which[0]} and of the matrix in the {which[1]} tensor.",
            )  # fmt: skip
    kept = matrices[0][:-1] + (matrices[1][1:] if len(b) > 1 else ())
    stack = words.unified(op, *stacks, "batch matrix multiply")
    result = stack + kept
    words.distinct(
        op,
        result,
        f"Matrix multiplying Tensor{words.text(a)} with Tensor{words.text(b)} would "
        f"produce output tensor with duplicate names {words.text(result)}. Rename "
        "dims with rename.",
    )
    return result


def add_product(args: Arguments) -> Result:
    """addmm and its kin: the product's names unified with those of what is added."""
    x, a, b = tensors(args)[:3]
    names = product(args["op"], a.names, b.names)
    return None if names is None else words.unified(args["op"], names, x.names)


def outer(args: Arguments) -> Result:
    """The name of each vector."""
    a, b = tensors(args)[:2]
    names = a.names + b.names
    words.distinct(args["op"], names, "Rename the dim of one vector with rename.")
    return names


# Methods that are no operators of the table. "own": the method knows names, or needs
# none; "in place": the tensor that is changed keeps its names.

METHODS: dict[str, Any] = {
    "view": reshape,
    "view_as": reshape,
    "reshape_as": reshape,
    "expand": expand,
    "sum_to_size": sum_to_size,
    "T": reverse,
    "mT": transpose_last,
    "H": transpose_last,
    "as_strided": "drop",
    "__getitem__": index,
    "__matmul__": matmul,
    "__rmatmul__": lambda args: product(
        "matmul", args["other"].names, args["self"].names
    ),
    **dict.fromkeys(
        (
            "to", "type_as", "cpu", "cuda", "pin_memory", "bool", "byte", "char",
            "short", "int", "long", "float", "double", "half", "bfloat16", "isreal",
        ),
        "keep",
    ),
    **dict.fromkeys(
        (
            # made of elementwise operators
            "where", "clamp_", "clip_", "fix", "sgn", "positive", "isposinf",
            "isneginf", "__round__", "__abs__", "__neg__", "__pos__", "__pow__",
            "__rpow__", "__ipow__", "__invert__",
            # take no names
            "new_tensor", "new_zeros", "new_ones", "new_empty", "new_full",
            "new_empty_strided", "unit_cotangent", "is_nonzero", "is_pinned",
            "record_stream", "__dlpack__", "__dlpack_device__",
            "__cuda_array_interface__",
        ),
        "own",
    ),
}  # fmt: skip
