"""Turns declarations into operators: function, method, symbols, in-place form.

The one place that writes to the Tensor class, so that `t.tanh()`, `nt.tanh(t)` and
`t.tanh_()` cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import fastcall
from ..dtypes import find as find_dtype
from ..elementwise import Elementwise
from ..names import boundary
from ..reduce import Reduction
from ..tensor import Tensor
from ..tracing import Number
from .pairs import into
from .registry import ROOMS, Declared, register

Vjp = Callable[..., Any] | tuple[Callable[..., Any] | None, ...] | None
_NUMBERS = (bool, int, float)


def elementwise(
    name: str,
    forward: Callable[..., Any],
    vjp: Vjp,
    *,
    doc: str,
    rule: str = "same",
    roles: str = "",
    reference: Callable[..., Any] | None = None,
    domain: Any = (-3.0, 3.0),
    kinks: tuple[float, ...] = (),
    symbol: str = "",
    method: bool = True,
    in_place: bool = True,
    aliases: tuple[str, ...] = (),
    dtypes: str = "",
    why: str = "",
    node_name: str = "",
    check: Callable[..., None] | None = None,
    tolerance: float | None = None,
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    names: Any = "unify",
    room: str = "",
) -> Any:
    """Declare an elementwise operator.

    `forward` and each rule of `vjp` are expressions in the words of `m`. `symbol`
    ("add") gives it Python's `+`, `+=` and the reflected form. `reference` is the same
    function in NumPy, `domain` where its arguments are drawn from in tests (a pair, or
    one per argument). `wrap` turns the plain function into the public one where
    PyTorch's has more arguments. With `room` ("nn.functional") the operator belongs to
    that module, and is no method.
    """
    rules = (vjp,) if callable(vjp) else vjp
    operator = Elementwise(
        name, forward, rules, rule=rule, roles=roles, why=why, node_name=node_name,
        check=check,
    )  # fmt: skip
    call = _function(operator)
    call.__name__ = call.__qualname__ = name
    plain = call
    if wrap is not None:
        call = wrap(call)
        call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    call.operator = plain.operator = operator
    if not isinstance(domain[0], tuple):
        domain = (domain,) * operator.arity
    if not dtypes:
        dtypes = {"bitwise": "integer", "number": "number", "no bool": "number"}.get(
            rule, "all"
        )
    register(
        Declared(
            name, "elementwise", call, operator, reference, domain, kinks,
            vjp is not None, why, dtypes, in_place and not room, None, aliases,
            tolerance, names=names, room=room,
        )
    )  # fmt: skip
    if method and not room:
        for n in (name, *aliases):
            attach(n, call, "own")
            if in_place:
                attach(f"{n}_", _in_place(operator, n, call), "own")
    if symbol:
        _symbols(operator, symbol, in_place)
    return call


def _function(operator: Elementwise) -> Any:
    if operator.arity == 1:
        unary = fastcall.unary(operator)

        def call(input: Any, *, out: Tensor | None = None) -> Tensor:
            if out is None:
                return unary(input)
            return operator(input, out=out)

        return call
    if operator.arity == 2:
        binary = fastcall.binary(operator)

        def call_two(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
            if out is None:
                return binary(input, other)
            return operator(input, other, out=out)

        return call_two

    def call_any(*args: Any, out: Tensor | None = None) -> Tensor:
        return operator(*args, out=out)

    return call_any


def _in_place(operator: Elementwise, name: str, public: Callable[..., Any]) -> Any:
    def call(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        if keywords:  # alpha=, rounding_mode=: whatever the function itself knows
            found = public(self, *args, **keywords)
            operator._fit(self._spec, tuple(found.shape), found.dtype)
            return self.copy_(found)  # type: ignore[no-any-return]
        return operator.in_place(self, *args)

    call.__name__ = call.__qualname__ = f"{name}_"
    call.__doc__ = f"In-place form of `{name}`: stores the result in the tensor."
    return call


def attach(name: str, method: Callable[..., Any], names: Any = None) -> None:
    """Make `method` a method of Tensor, and of tensors with names by their rule.

    `names`: as for `composed`; "own" if the method itself knows names, or needs none.
    Without it the rule is what `names.rules` says of methods.
    Raises: ValueError, the name is taken.
    """
    if name in Tensor.__dict__:
        raise ValueError(f"Tensor.{name} is declared twice")
    setattr(Tensor, name, method)
    boundary.override(name, method, names)


def attach_stored_back(of: Callable[..., Tensor]) -> None:
    """Give Tensor the in-place form of a function: one that copies the result back."""

    def call(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        return self.copy_(of(self, *args, **keywords))

    call.__name__ = call.__qualname__ = f"{of.__name__}_"
    call.__doc__ = f"In-place form of `{of.__name__}`."
    attach(call.__name__, call)


def room(name: str) -> dict[str, Callable[..., Any]]:
    """Return the functions declared for a module such as "nn.functional"."""
    return ROOMS.setdefault(name, {})


def _symbols(operator: Elementwise, symbol: str, in_place: bool) -> None:
    """Attach Python's operators; an operand that is none of ours is left to its own."""
    general = operator.__call__

    def other_operand(x: Any, y: Any) -> Any:
        if isinstance(y, (Tensor, bool, int, float, Number)) or hasattr(
            y, "__array_interface__"
        ):
            return general(x, y)
        return NotImplemented

    forward = fastcall.binary(operator, other_operand)
    attach(f"__{symbol}__", forward, "own")

    if symbol not in ("lt", "le", "gt", "ge", "eq", "ne"):
        attach(f"__r{symbol}__", fastcall.reflected(operator, general), "own")
        if in_place:
            attach(f"__i{symbol}__", fastcall.augmented(operator), "own")


def reduction(
    name: str,
    combine: str,
    vjp: Callable[..., Any] | None,
    *,
    doc: str,
    rule: str = "same",
    before: Callable[..., Any] | None = None,
    after: Callable[..., Any] | None = None,
    saves: str = "",
    empty_ok: bool = True,
    reference: Callable[..., Any] | None = None,
    domain: Any = ((-3.0, 3.0),),
    why: str = "",
    dtypes: str = "all",
) -> Any:
    """Declare a reduction over any dims: see `reduce.Reduction` for the fields."""
    operator = Reduction(
        name, combine, vjp, rule=rule, before=before, after=after, saves=saves,
        empty_ok=empty_ok, why=why,
    )  # fmt: skip

    def call(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        dtype: Any = None,
        axis: Any = None,
        keepdims: bool | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        if axis is keepdims is dtype is out is None:
            return operator(input, dim, keepdim)
        if dim is None:
            dim = axis
        if keepdims is not None:
            keepdim = keepdims
        if dtype is not None:
            dtype = find_dtype(dtype)
        result = operator(input, dim, keepdim, dtype)
        return into(name, out, result)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    call.operator = operator  # type: ignore[attr-defined]
    register(
        Declared(
            name, "reduction", call, operator, reference, domain,
            differentiable=vjp is not None, why=why, dtypes=dtypes, in_place=False,
            names="reduce",
        )
    )  # fmt: skip
    attach(name, call, "own")
    return call


def composed(
    name: str,
    *,
    kind: str = "composed",
    reference: Callable[..., Any] | None = None,
    samples: Callable[..., Any] | None = None,
    method: bool = True,
    differentiable: bool = True,
    why: str = "",
    dtypes: str = "all",
    aliases: tuple[str, ...] = (),
    domain: Any = ((-3.0, 3.0),),
    names: Any = None,
    room: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function of other operators, or one with a body of its own.

    `samples(make)` returns its test cases as (args, kwargs); `make(*shape)` gives a
    tensor. `names` is the rule for the dimension names of its results. With `room`
    ("nn.functional") the function belongs to that module, and is no method.
    """

    def enter(call: Callable[..., Any]) -> Callable[..., Any]:
        public = boundary.guard(name, call, names)
        register(
            Declared(
                name, kind, call, None, reference, domain,
                differentiable=differentiable, why=why, dtypes=dtypes, in_place=False,
                samples=samples, aliases=aliases, names=names, room=room,
            ),
            public,
        )  # fmt: skip
        if method and not room:
            for n in (name, *aliases):
                attach(n, public if boundary.takes_more(call) else call, names)
        # modules call the functions of `nn` on what users give them
        return public if room else call

    return enter
