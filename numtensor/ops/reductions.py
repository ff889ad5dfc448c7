"""Reductions: sums, means, products, extremes, logic, variance."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import dtypes, launch
from ..devices import Twin
from ..dtypes import FLOAT
from ..errors import DimError, DTypeError, message
from ..kernels.expr import Expr, apply, cast
from ..kernels.expr import var as variable
from ..kernels.loops import COMBINES
from ..layout import normalize_dim, normalize_dims, numel
from ..memory import empty
from ..names import rules
from ..reduce import Plan, expand_result, record
from ..spec import Spec, contiguous_spec
from ..tape import grad_mode
from ..tensor import Tensor
from . import m
from .declare import attach, composed, reduction
from .pairs import Pair, into, stored
from .registry import function
from .views import reshape, squeeze, unsqueeze


def _along(reference: Any) -> Any:
    """Give a NumPy reduction PyTorch's argument names."""

    def call(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return reference(x, axis=dim, keepdims=keepdim)

    return call


sum = reduction(
    "sum", "sum", lambda g, x, out, plan: expand_result(g, plan),
    rule="sum", reference=_along(np.sum),
    doc="""The sum over `dim`, or of everything.

    Dtypes: integers and bool give int64, floats themselves; `dtype` casts first.
    Blocks are added in several accumulators and joined in float64.

    >>> import numtensor as nt
    >>> nt.ones(2, 3).sum(dim=1)
    tensor([3., 3.])
    """,
)  # fmt: skip
mean = reduction(
    "mean", "sum", lambda g, x, out, plan: expand_result(g / plan.count, plan),
    rule="float", after=lambda total, count: total / count,
    reference=_along(np.mean), dtypes="float",
    doc="""The mean over `dim`, or of everything; floating-point tensors only.

    >>> import numtensor as nt
    >>> nt.tensor([1.0, 2.0, 6.0]).mean()
    tensor(3.)
    """,
)  # fmt: skip
nansum = reduction(
    "nansum", "sum",
    lambda g, x, out, plan: expand_result(g, plan) * (x == x),
    rule="sum", saves="x", reference=_along(np.nansum),
    before=lambda x: m.where(x == x, x, x * 0 if not m.is_float(x) else _zero(x)),
    doc="The sum over `dim`, NaN counted as 0.",
)  # fmt: skip


def _zero(x: Expr) -> Expr:
    from ..kernels.expr import const

    return const(0, x.dtype)


def _prod_vjp(g: Tensor, x: Tensor, out: Tensor, plan: Plan) -> Tensor:
    """out / x where nothing is 0; else what the other factors give."""
    zero = x == 0
    known = type(x._spec.device) is not Twin
    if known and not bool(function("any")(zero)):
        return g * out / x
    others = prod.operator(m.where(zero, 1.0, x), plan.dims, True)
    zeros = sum.operator(zero, plan.dims, True)
    alone = m.where(zeros == 1, others, 0.0)
    rest = m.where(zeros == 0, out / m.where(zero, 1.0, x), 0.0)
    return g * m.where(zero, alone, rest)


prod = reduction(
    "prod", "prod", _prod_vjp, rule="sum", saves="x out",
    reference=_along(np.prod), domain=((0.5, 1.5),),
    doc="The product over `dim`, or of everything.",
)  # fmt: skip


def _extreme_vjp(g: Tensor, x: Tensor, out: Tensor, plan: Plan) -> Tensor:
    """Shared evenly between equal extremes."""
    hit = (x == out) | ((x != x) & (out != out))
    count = sum.operator(hit, plan.dims, True)
    return m.where(hit, g / count, 0.0)


amax = reduction(
    "amax", "max", _extreme_vjp, saves="x out", empty_ok=False,
    reference=_along(np.max), doc="The largest over `dim`; NaN if there is one.",
)  # fmt: skip
amin = reduction(
    "amin", "min", _extreme_vjp, saves="x out", empty_ok=False,
    reference=_along(np.min), doc="The smallest over `dim`; NaN if there is one.",
)  # fmt: skip
any = reduction(
    "any", "any", None, rule="bool", why="result is bool",
    reference=_along(np.any), doc="Whether some element over `dim` is not 0.",
)  # fmt: skip
all = reduction(
    "all", "all", None, rule="bool", why="result is bool",
    reference=_along(np.all), doc="Whether no element over `dim` is 0.",
)  # fmt: skip


@composed(
    "count_nonzero",
    differentiable=False,
    why="integer result",
    reference=lambda x, dim=None: np.count_nonzero(x, axis=dim),
    names="reduce",
)
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """Return how many elements over `dim` are not 0, as int64."""
    return sum(input != 0, dim)


# Extremes with their places

_launches: dict[Any, Any] = {}


def _search(
    op: str, x: Tensor, dim: int | None, largest: bool
) -> tuple[Tensor, Tensor]:
    """Return values and places, the reduced dims kept as 1."""
    given = x._spec
    shape = tuple(given.shape)
    dims = range(len(shape)) if dim is None else (dim,)
    which = frozenset(dims)
    kept = tuple(1 if d in which else n for d, n in enumerate(shape))
    if numel([shape[d] for d in which]) == 0 and (dim is None or numel(kept)):
        raise no_elements(op, shape, dim)
    values = empty(contiguous_spec(given.dtype, kept, given.device))
    places = empty(contiguous_spec(dtypes.int64, kept, given.device))
    if values._spec.numel:
        key = (given, dim, largest)
        call = _launches.get(key)
        if call is None:
            if len(_launches) > 4000:
                _launches.clear()
            call = _launches[key] = launch.arg_extreme(
                shape, tuple(dims), given.strides, given.dtype.name, largest,
                given.device,
            )  # fmt: skip
        call.run((values._pointer, places._pointer, x._pointer))
    return values, places


def no_elements(op: str, shape: Sequence[int], dim: int | None) -> DimError:
    """Return what is raised where a dim has nothing of which one could be found."""
    return DimError(
        message(
            op,
            f"a tensor of shape {list(shape)}",
            "at least one element along the reduced dim",
            f"{op}(): Expected reduction dim {dim} to have non-zero size. Check the "
            "shape first.",
        )
    )


def _arg(name: str, largest: bool) -> Any:
    def call(
        input: Tensor,
        dim: int | None = None,
        keepdim: bool = False,
        *,
        axis: int | None = None,
    ) -> Tensor:
        if dim is None:
            dim = axis
        if input.dtype is dtypes.bool_:
            raise DTypeError(
                message(
                    name,
                    "torch.bool",
                    "numbers",
                    f"\"{name}_cpu\" not implemented for 'Bool'. Use x.int().",
                )  # fmt: skip
            )
        if dim is not None:
            dim = normalize_dim(name, dim, input.ndim)
        if dim is not None and input.ndim == 0:
            dim = None
        _, places = _search(name, input, dim, largest)
        if keepdim:
            return places
        return reshape(places, ()) if dim is None else squeeze(places, dim)

    call.__name__ = call.__qualname__ = name
    end = "largest" if largest else "smallest"
    call.__doc__ = f"""Return where the {end} element is, as int64: the first of equals.

    Without `dim`, the place in the flattened tensor. Raises: DimError, no elements.
    """
    return call


argmax = composed(
    "argmax", differentiable=False, why="integer result",
    reference=_along(np.argmax),
    names="reduce",
)(_arg("argmax", True))  # fmt: skip
argmin = composed(
    "argmin", differentiable=False, why="integer result",
    reference=_along(np.argmin),
    names="reduce",
)(_arg("argmin", False))  # fmt: skip


class max_result(Pair):
    """Largest values and where they are."""


class min_result(Pair):
    """Smallest values and where they are."""


def _max(name: str, largest: bool, pair: Any) -> Any:
    from ..tape import FunctionNode, edge

    def call(
        input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Any = None,
        other: Any = None, axis: Any = None,
    ) -> Any:  # fmt: skip
        if dim is None:
            dim = axis
        if isinstance(dim, Tensor) or other is not None:
            two = function("maximum" if largest else "minimum")
            return two(input, dim if other is None else other, out=out)
        if dim is None:
            if input._spec.numel == 0:
                raise DimError(
                    message(
                        name,
                        f"a tensor of shape {list(input.shape)}",
                        "at least one element",
                        f"{name}(): Expected reduction dim to be specified for "
                        "input.numel() == 0. Specify the reduction dim with the 'dim' "
                        "argument.",
                    )  # fmt: skip
                )
            found = (amax if largest else amin)(input)
            return found if out is None else stored(name, out, (found,))[0]
        d = normalize_dim(name, dim, input.ndim)
        if input.ndim == 0:
            zero = function("zeros")((), dtype=dtypes.int64, device=input.device)
            return pair(*stored(name, out, (function("clone")(input), zero)))
        values, places = _search(name, input, d, largest)
        if grad_mode.enabled and input.requires_grad:
            size = input.shape[d]
            held = places

            def back(g: Tensor) -> tuple[Tensor]:
                if not keepdim:
                    g = unsqueeze(g, d)
                return (m.where(_hits(held, size, d), g, 0.0),)

            values = values if keepdim else squeeze(values, d).detach()
            values._node = FunctionNode(
                name.capitalize() + "Backward0", (edge(input),), back
            )
            values._requires_grad = True
        elif not keepdim:
            values = squeeze(values, d)
        both = values, places if keepdim else squeeze(places, d)
        return pair(*(both if out is None else stored(name, out, both)))

    call.__name__ = call.__qualname__ = name
    end = "largest" if largest else "smallest"
    call.__doc__ = f"""Return the {end} element; with `dim`, a pair (values, indices).

    With a second tensor, the {end} of each two elements. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.{name}(nt.tensor([[1, 5], [4, 2]]), dim=1).values
    tensor([{"5, 4" if largest else "1, 2"}])
    """
    return call


def _hits(places: Tensor, size: int, dim: int) -> Tensor:
    """Return where in a dim of `size` the places are, as bool."""
    shape = [1] * places.ndim
    shape[dim] = size
    every = function("arange")(size, device=places.device)
    return reshape(every, tuple(shape)) == places


max = composed(
    "max", reference=lambda x: np.max(x), kind="reduction_pair",
    samples=lambda make: [((make(3, 4),), {}), ((make(3, 4), 1), {})],
    names=rules.extreme,
)(_max("max", True, max_result))  # fmt: skip
min = composed(
    "min", reference=lambda x: np.min(x), kind="reduction_pair",
    samples=lambda make: [((make(3, 4),), {}), ((make(3, 4), 1), {})],
    names=rules.extreme,
)(_max("min", False, min_result))  # fmt: skip


# Variance: the mean first, then squares around it. One pass over E[x²] - E[x]² would
# lose about eight digits once mean / std reaches 1e4.


class _Variance:
    """var or std: a reduction of two operands, the tensor and its mean."""

    saves = "x out"

    def __init__(self, name: str, root: bool) -> None:
        self.name = name
        self.root = root
        self.node_name = name.capitalize() + "Backward"
        self.plans: dict[Any, Any] = {}

    def plan(self, given: Spec, dims: tuple[int, ...], correction: float) -> Plan:
        shape = tuple(given.shape)
        which = frozenset(dims)
        kept = tuple(1 if d in which else n for d, n in enumerate(shape))
        plan = Plan()
        plan.dims = tuple(sorted(which))
        plan.kept = kept
        plan.input = given
        plan.count = numel([shape[d] for d in which])
        plan.out = contiguous_spec(given.dtype, kept, given.device)
        plan.cast_to = None
        plan.differentiable = True
        # Bessel's correction; as PyTorch, never a negative number of elements
        free = plan.count - correction
        plan.scalars = (float(free) if free > 0 else 0.0,)
        root = self.root
        dtype = given.dtype.name

        def finish(total: Expr) -> Expr:
            value = total / cast(variable("free", "float64"), total.dtype)
            return apply("sqrt", value) if root else value

        def build(values: dict[str, Expr]) -> list[Expr]:
            # the squares in float64: those of float32 overflow from 1.8e19 on
            gap = cast(values["x"] - values["y"], "float64")
            return [gap * gap]

        full = plan.out
        strides = tuple(0 if d in which else s for d, s in enumerate(full.strides))
        body = launch.Body(("variance", self), self.name, build, (("free", "float64"),))
        plan.steps = None
        if plan.out.numel:
            plan.steps = launch.reduction(
                shape, which, [launch.Reduced(dtype, COMBINES["sum"], finish)], [],
                [
                    launch.Input("x", dtype, given.strides),
                    launch.Input("y", dtype, strides),
                ],
                body, given.device,
            )  # fmt: skip
        return plan

    def vjp(self, g: Tensor, x: Tensor, out: Tensor, plan: Plan) -> Tensor:
        gap = x - mean.operator(x, plan.dims, True)
        free = plan.scalars[0]
        scale = 2.0 / free if free else float("inf")
        if not self.root:
            return (g * scale) * gap
        scaled = m.where(out == 0, 0.0, g / out)
        return (scaled * (scale / 2)) * gap

    def __call__(
        self, x: Tensor, dim: Any, correction: float, keepdim: bool
    ) -> tuple[Tensor, Tensor]:
        if x.dtype.category != FLOAT:
            raise DTypeError(
                message(
                    self.name,
                    f"{x.dtype}",
                    "a floating-point dtype",
                    f"{self.name}: only support floating point and complex dtypes. Use "
                    f"x.float().{self.name}().",
                )  # fmt: skip
            )
        if dim is None or dim == () or dim == []:
            dims = tuple(range(x.ndim))
        else:
            dims = normalize_dims(self.name, dim, x.ndim)
        if x.ndim == 0:
            dims = ()
        key = (x._spec, dims, correction)
        plan = self.plans.get(key)
        if plan is None:
            if len(self.plans) > 4000:
                self.plans.clear()
            plan = self.plans[key] = self.plan(x._spec, dims, correction)
        middle = mean.operator(x, dims, True)
        result = empty(plan.out)
        if plan.steps is not None:
            plan.steps.run((result._pointer, x._pointer, middle._pointer), plan.scalars)
        if grad_mode.enabled and x.requires_grad:
            record(self, plan, x, result)
        if not keepdim:
            short = tuple(n for d, n in enumerate(x.shape) if d not in dims)
            return reshape(result, short), reshape(middle, short)
        return result, middle


_var, _std = _Variance("var", False), _Variance("std", True)


def _spread(name: str, operator: _Variance, with_mean: bool, kind: str) -> Any:
    def call(
        input: Tensor,
        dim: Any = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: float | None = None,
        axis: Any = None,
        out: Tensor | None = None,
    ) -> Any:
        if isinstance(dim, bool):  # var(x, unbiased)
            dim, unbiased = None, dim
        if dim is None:
            dim = axis
        if correction is None:
            correction = 0 if unbiased is False else 1
        found, middle = operator(input, dim, correction, keepdim)
        if with_mean:
            return found, middle
        return into(name, out, found)

    call.__name__ = call.__qualname__ = name
    also = ", and the mean" if with_mean else ""
    call.__doc__ = f"""Return the {kind} over `dim`, or of everything{also}.

    `correction` (1, Bessel's) is taken off the number of elements; `unbiased=False` is
    correction=0. Raises: DTypeError, integers.
    """
    return call


var = composed(
    "var", kind="reduction", dtypes="float",
    reference=_along(partial(np.var, ddof=1)),
    names="reduce",
)(_spread("var", _var, False, "variance"))  # fmt: skip
std = composed(
    "std", kind="reduction", dtypes="float",
    reference=_along(partial(np.std, ddof=1)),
    names="reduce",
)(_spread("std", _std, False, "standard deviation"))  # fmt: skip
var_mean = composed(
    "var_mean", method=False, dtypes="float",
    samples=lambda make: [((make(3, 4), 1), {})],
    names="reduce",
)(_spread("var_mean", _var, True, "variance"))  # fmt: skip
std_mean = composed(
    "std_mean", method=False, dtypes="float",
    samples=lambda make: [((make(3, 4), 1), {})],
    names="reduce",
)(_spread("std_mean", _std, True, "standard deviation"))  # fmt: skip


def _sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Return the sum over the dims by which `size` was broadcast to this shape."""
    wanted = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    shape = self._spec.shape
    if shape == wanted:
        return self
    lead = len(shape) - len(wanted)
    dims = list(range(lead))
    dims += [
        d for d in range(lead, len(shape)) if wanted[d - lead] == 1 and shape[d] != 1
    ]
    if lead < 0 or any_mismatch(shape[lead:], wanted):
        raise DimError(
            message(
                "sum_to_size",
                f"size {list(wanted)} for a tensor of shape {list(shape)}",
                "a size that broadcasts to the tensor's",
            )  # fmt: skip
        )
    summed = sum.operator(self, tuple(dims), True) if dims else self
    return reshape(summed, wanted) if summed._spec.shape != wanted else summed


def any_mismatch(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether some size of `wanted` is neither 1 nor the tensor's."""
    pairs = zip(shape, wanted, strict=True)
    return not builtins.all(b in (1, a) for a, b in pairs)


attach("sum_to_size", _sum_to_size)
