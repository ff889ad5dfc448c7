"""Tensors of random numbers: factories, and what fills a tensor in place.

Each function checks what it is given, reserves memory, and lets a `fill_*` function of
`random` write it. Numbers come in the order of indices, whatever the strides, so that
a seed gives a tensor and its transpose the same elements. Distributions themselves
must not come in: they are kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes, layout, random
from .devices import Twin, device
from .devices import find as find_device
from .dtypes import FLOAT, dtype
from .errors import DTypeError, message
from .factories import finish, fresh, kind_of, like, place_of, size_of
from .indexing import as_int
from .memory import empty
from .names import boundary
from .ops.copies import copy_into
from .ops.declare import attach
from .ops.registry import Declared, register
from .random import Generator
from .sorted_rows import sort
from .spec import contiguous_spec
from .tape import FunctionNode, edge, grad_mode, no_grad
from .tensor import Tensor
from .writing import writable

#: writes n elements at an address of a device: (address, n, dtype name, device)
Draw = Callable[[int, int, str, device], None]


def _drawn(target: Tensor, draw: Draw) -> Tensor:
    """Fill a tensor in the order of its indices; the tape is the caller's."""
    found = target._spec
    if found.contiguous:
        draw(target._pointer, found.numel, found.dtype.name, found.device)
        return target
    dense = empty(contiguous_spec(found.dtype, tuple(found.shape), found.device))
    draw(dense._pointer, found.numel, found.dtype.name, found.device)
    return copy_into(dense, target, "")


def _without_slope(name: str, result: Tensor, *sources: Any) -> Tensor:
    """Record that `result` was drawn from `sources`, whose gradients are zero."""
    known = [s for s in sources if isinstance(s, Tensor) and s.requires_grad]
    if known and grad_mode.enabled and result.dtype.category == FLOAT:
        like = [s.detach() for s in known]
        result._node = FunctionNode(
            name,
            tuple(edge(s) for s in known),
            lambda g: tuple(s.new_zeros(s.shape) for s in like),
        )
        result._requires_grad = True
    return result


# Factories


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    out: Tensor | None = None,
    pin_memory: bool = False,
    **keywords: Any,
) -> Tensor:
    """Return numbers uniform in [0, 1).

    Dtypes: float32, float64. Raises: DTypeError, an integer dtype; ShapeError.

    >>> rand(2, 3).shape
    torch.Size([2, 3])
    """
    kind = kind_of(dtype, None if out is None else out.dtype)
    shape = size_of("rand", size, keywords)
    made = fresh("rand", kind, shape, place_of(device, out))
    draw = _uniform(0.0, 1.0, generator)
    return finish(_drawn(made, draw), requires_grad, out, pin_memory, names)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    out: Tensor | None = None,
    pin_memory: bool = False,
    **keywords: Any,
) -> Tensor:
    """Return normal numbers of mean 0 and standard deviation 1.

    Dtypes: float32, float64. Raises: DTypeError, an integer dtype; ShapeError.

    >>> randn((4,), dtype=dtypes.float64).dtype
    torch.float64
    """
    kind = kind_of(dtype, None if out is None else out.dtype)
    shape = size_of("randn", size, keywords)
    made = fresh("randn", kind, shape, place_of(device, out))
    draw = _normal(0.0, 1.0, generator)
    return finish(_drawn(made, draw), requires_grad, out, pin_memory, names)


def _bounds(op: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> list[Any]:
    """Read (high), (low, high), each followed by `size` unless that is a keyword."""
    names = ["low", "high", "size"]
    given = list(args)
    short = "low" not in keywords and len(given) + len(keywords) < 3
    if short:
        names = names[1:]
    found = dict(zip(names, given, strict=False))
    for name, value in keywords.items():
        if name not in names or name in found:
            raise TypeError(f"{op}() got an unexpected keyword argument {name!r}")
        found[name] = value
    if len(given) > len(names) or set(found) != set(names):
        raise TypeError(
            message(
                op,
                f"{len(given)} positional arguments",
                f"{op}(high, size) or {op}(low, high, size)",
            )
        )
    size = found["size"]
    if isinstance(size, int) or not isinstance(size, (tuple, list)):
        raise TypeError(
            message(
                op,
                f"size {size!r}",
                "a tuple of ints",
                f"{op}(): argument 'size' must be tuple of ints, not "
                f"{type(size).__name__}.",
            )
        )
    return [as_int(op, found.get("low", 0)), as_int(op, found["high"]), size]


def randint(
    *args: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    out: Tensor | None = None,
    pin_memory: bool = False,
    **keywords: Any,
) -> Tensor:
    """Return integers uniform in [low, high): `randint(low, high, size)`, low 0.

    Dtypes: all, int64 unless given. Raises: RuntimeError, an empty interval or one
    beyond the dtype; ShapeError; TypeError, a size that is no tuple.

    >>> randint(3, (2, 2)).dtype
    torch.int64
    """
    low, high, size = _bounds("randint", args, keywords)
    default = dtypes.int64 if out is None else out.dtype
    shape = size_of("randint", (size,), {})
    made = fresh("randint", kind_of(dtype, default), shape, place_of(device, out))
    draw = _integers(low, high, generator)
    return finish(_drawn(made, draw), requires_grad, out, pin_memory, names)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    out: Tensor | None = None,
    pin_memory: bool = False,
) -> Tensor:
    """Return 0, ..., n - 1 in random order.

    Dtypes: all that hold n - 1, int64 unless given. Raises: ShapeError, n negative;
    RuntimeError, a dtype too small.

    >>> sorted(randperm(4).tolist())
    [0, 1, 2, 3]
    """
    n = as_int("randperm", n)
    kind = kind_of(dtype, dtypes.int64 if out is None else out.dtype)
    on = find_device(place_of(device, out))
    keys = fresh("randperm", dtypes.int64, (n,), on)
    if n - 1 > _largest_index(kind):
        raise RuntimeError(
            message(
                "randperm",
                f"n={n} for {kind}",
                f"n of at most {_largest_index(kind) + 1}",
                "Use a wider dtype.",
            )
        )
    random.fill_keys(keys._pointer, n, generator, on)
    _, order = sort(keys, 0, False)
    made = order if kind is dtypes.int64 else order.to(kind)
    return finish(made, requires_grad, out, pin_memory, names)


def _largest_index(kind: dtype) -> int:
    """The last integer up to which the dtype has all of them."""
    if kind.category == FLOAT:
        return 2**24 if kind is dtypes.float32 else 2**53
    return 1 if kind is dtypes.bool_ else int(np.iinfo(kind.numpy).max)


def rand_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return numbers uniform in [0, 1), of the shape and dtype of `input`."""
    draw = _uniform(0.0, 1.0, generator)
    return _alike(input, draw, dtype, device, requires_grad)


def randn_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return standard normal numbers, of the shape and dtype of `input`."""
    draw = _normal(0.0, 1.0, generator)
    return _alike(input, draw, dtype, device, requires_grad)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return integers uniform in [low, high), of the shape and dtype of `input`.

    `randint_like(input, high)` starts at 0.
    """
    if high is None:
        low, high = 0, low
    draw = _integers(
        as_int("randint_like", low), as_int("randint_like", high), generator
    )
    return _alike(input, draw, dtype, device, requires_grad)


def _alike(
    input: Tensor, draw: Draw, kind: Any, device: Any, requires_grad: bool
) -> Tensor:
    return finish(_drawn(empty(like(input, kind, device)), draw), requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    pin_memory: bool = False,
) -> Tensor:
    """Return normal numbers with a mean and a standard deviation for each, or for all.

    Shapes: `size` where both are numbers, else the broadcast shape of the tensors.
    Dtypes: float32, float64. Gradients with respect to mean and std are zero.
    Raises: RuntimeError, a negative std; ShapeError; DTypeError; TypeError, `size`
    beside a tensor or missing beside numbers.

    >>> normal(Tensor([0.0, 100.0]), 0.0)
    tensor([  0., 100.])
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if bool(tensors) == (size is not None):
        raise TypeError(
            message(
                "normal",
                "a tensor and a size" if tensors else "numbers without a size",
                "normal(mean, std, size) for numbers, normal(mean, std) with a tensor",
            )
        )
    if not tensors:
        shape = size_of("normal", (size,), {})
        made = fresh("normal", kind_of(dtype), shape, place_of(device, out))
        _drawn(made, _normal(mean, std, generator))
        return finish(made, requires_grad, out, pin_memory)
    shape = layout.broadcast_shapes("normal", *[tuple(x.shape) for x in tensors])
    made = empty(contiguous_spec(tensors[0].dtype, shape, tensors[0].device))
    with no_grad():
        if not _all(std >= 0):
            raise RuntimeError(
                message(
                    "normal",
                    "a negative std",
                    "std >= 0 everywhere",
                    "normal expects all elements of std >= 0.0.",
                )
            )
        _drawn(made, _normal(0.0, 1.0, generator))
        made.mul_(std).add_(mean)
    made = finish(made, requires_grad, out, pin_memory)
    return _without_slope("NormalBackward1", made, mean, std)


def _all(truth: Any) -> bool:
    """Whether a condition holds everywhere; taken for granted where there is no data,
    while a function is traced."""
    if isinstance(truth, Tensor):
        if type(truth._spec.device) is Twin:
            return True
        truth = truth.all()
    return bool(truth)


def bernoulli(
    input: Tensor,
    p: float | None = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return 1 with the probability in each element of `input`, else 0.

    With `p`, that is the probability everywhere and `input` gives shape and dtype.
    Dtypes: float32, float64; all with `p`. The gradient is zero.
    Raises: DTypeError; RuntimeError, a probability outside [0, 1].

    >>> bernoulli(Tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    made = empty(like(input, None))
    if p is not None:
        _drawn(made, _coin(p, generator))
    else:
        _tossed("bernoulli", made, input, generator)
    return _without_slope("BernoulliBackward0", finish(made, False, out), input)


def _tossed(op: str, target: Tensor, p: Tensor, generator: Generator | None) -> None:
    """Store in each element of `target` whether a coin of probability p came up."""
    if p.dtype.category != FLOAT:
        raise DTypeError(
            message(op, f"probabilities of {p.dtype}", "float32 or float64")
        )
    with no_grad():
        p = p.detach().expand(target.shape)
        if not _all((p >= 0) & (p <= 1)):
            raise RuntimeError(
                message(op, "a probability outside [0, 1]", "p in [0, 1] everywhere")
            )
        coins = empty(contiguous_spec(p.dtype, tuple(target.shape), target.device))
        _drawn(coins, _uniform(0.0, 1.0, generator))
        copy_into(coins < p, target, "")


# What to draw


def _uniform(low: Any, high: Any, generator: Generator | None) -> Draw:
    low, high = float(low), float(high)
    return lambda address, n, kind, on: random.fill_uniform(
        address, n, kind, low, high, generator, on
    )


def _normal(mean: Any, std: Any, generator: Generator | None) -> Draw:
    mean, std = float(mean), float(std)
    return lambda address, n, kind, on: random.fill_normal(
        address, n, kind, mean, std, generator, on
    )


def _integers(low: int, high: int, generator: Generator | None) -> Draw:
    return lambda address, n, kind, on: random.fill_integers(
        address, n, kind, low, high, generator, on
    )


def _coin(p: Any, generator: Generator | None) -> Draw:
    p = float(p)
    return lambda address, n, kind, on: random.fill_bernoulli(
        address, n, kind, p, generator, on
    )


# In place


def _in_place(op: str, target: Tensor, draw: Callable[[Tensor], Any]) -> Tensor:
    """Replace the elements of a tensor; what it held before has gradient zero.

    Raises: AutogradError, a leaf that requires grad; ShapeError, elements that share
    memory.
    """
    recorded = grad_mode.enabled and target.requires_grad
    writable(op, target, recorded)
    before = edge(target) if recorded else None
    draw(target)
    target._storage.version += 1
    if recorded:
        name = op.strip("_").capitalize() + "Backward0"
        shape = tuple(target.shape)
        target.replace_history(
            FunctionNode(name, (before,), lambda g: (g.new_zeros(shape),)), 0
        )
    return target


def _uniform_(
    self: Tensor, low: Any = 0.0, to: Any = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill the tensor with numbers uniform in [low, to).

    Dtypes: float32, float64. Raises: DTypeError; RuntimeError, bounds that are no
    finite interval; AutogradError.
    """
    draw = _uniform(low, to, generator)
    return _in_place("uniform_", self, lambda t: _drawn(t, draw))


def _normal_(
    self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill the tensor with normal numbers.

    Dtypes: float32, float64. Raises: DTypeError; RuntimeError, a negative std;
    AutogradError.
    """
    draw = _normal(mean, std, generator)
    return _in_place("normal_", self, lambda t: _drawn(t, draw))


def _random_(
    self: Tensor, *bounds: Any, to: Any = None, generator: Generator | None = None
) -> Tensor:
    """Fill the tensor with integers: `random_(to)`, `random_(low, to)`.

    In [low, to), low 0. Without `to`, up to the largest value of an integer dtype, or
    to where a float dtype stops having every integer.
    Dtypes: all. Raises: RuntimeError, an empty interval or one beyond the dtype;
    AutogradError.
    """
    if len(bounds) > 2 or (to is not None and len(bounds) > 1):
        raise TypeError(
            message("random_", f"{len(bounds)} bounds", "random_(to), random_(low, to)")
        )
    low, high = bounds[0] if bounds else 0, to
    if len(bounds) == 2:
        high = bounds[1]
    elif len(bounds) == 1 and to is None:
        low, high = 0, bounds[0]
    if high is None:
        high = random.default_bounds(self.dtype.name)[1]
    draw = _integers(as_int("random_", low), as_int("random_", high), generator)
    return _in_place("random_", self, lambda t: _drawn(t, draw))


def _bernoulli_(
    self: Tensor, p: Any = 0.5, *, generator: Generator | None = None
) -> Tensor:
    """Fill the tensor with 1 with probability p, a number or a tensor of them, else 0.

    Dtypes: all. Raises: RuntimeError, a probability outside [0, 1]; AutogradError.
    """
    if isinstance(p, Tensor):
        return _in_place(
            "bernoulli_", self, lambda t: _tossed("bernoulli_", t, p, generator)
        )
    draw = _coin(p, generator)
    return _in_place("bernoulli_", self, lambda t: _drawn(t, draw))


def _exponential_(
    self: Tensor, lambd: Any = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill the tensor with exponential numbers of mean 1 / lambd.

    Dtypes: float32, float64. Raises: DTypeError; RuntimeError, `lambd` not > 0;
    AutogradError.
    """
    rate = float(lambd)

    def draw(address: int, n: int, kind: str, on: device) -> None:
        random.fill_exponential(address, n, kind, rate, generator, on)

    return _in_place("exponential_", self, lambda t: _drawn(t, draw))


for _fill in (_uniform_, _normal_, _random_, _bernoulli_, _exponential_):
    _fill.__name__ = _fill.__qualname__ = _fill.__name__.removeprefix("_")
    attach(_fill.__name__, _fill)

attach("bernoulli", bernoulli, "keep")

# calls of each factory that bring all its kernels; see `warmup`
_SAMPLES: dict[str, Callable[[Tensor], tuple[Any, ...]]] = {
    "rand": lambda x: (4,),
    "randn": lambda x: (4,),
    "randint": lambda x: (4, (4,)),
    "randperm": lambda x: (4,),
    "rand_like": lambda x: (x,),
    "randn_like": lambda x: (x,),
    "randint_like": lambda x: (x, 4),
    "normal": lambda x: (x, 1.0),
    "bernoulli": lambda x: (x * 0,),  # type: ignore[operator]
}


#: whose names the results have, where that is not `names=`
_RULES = {
    "rand_like": "keep",
    "randn_like": "keep",
    "randint_like": "keep",
    "normal": "unify",
    "bernoulli": "keep",
}


def _samples(name: str) -> Callable[..., Any]:
    return lambda make: [(_SAMPLES[name](make(4)), {})]


for _call in (
    rand, randn, randint, randperm, rand_like, randn_like, randint_like, normal,
    bernoulli,
):  # fmt: skip
    register(
        Declared(
            _call.__name__,
            "factory",
            _call,
            differentiable=False,
            why="drawn at random",
            in_place=False,
            samples=_samples(_call.__name__),
            names=_RULES.get(_call.__name__, "given"),
        ),
        boundary.guard(_call.__name__, _call, _RULES.get(_call.__name__, "given")),
    )
