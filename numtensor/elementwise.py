"""Elementwise operators: from one declaration to eager calls and their way back.

An `Elementwise` holds an expression and its vjp, nothing else that is specific to it.
From these come the forward kernel for each combination of dtypes and layouts, and the
in-place and `out=` forms, here; the fast calls, in `fastcall`; the fused backward
kernels and higher-order gradients, in `wayback`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import dtypes, launch
from .devices import CPU, device
from .dtypes import BOOL, FLOAT, dtype
from .errors import (
    DTypeError,
    ShapeError,
    message,
    mixed_devices,
)
from .kernels.expr import Expr, cast
from .layout import broadcast_shapes, expand_strides
from .layout import output_strides as _output_strides
from .memory import as_number, empty
from .names import boundary
from .spec import Spec, spec
from .tape import edge, grad_mode
from .tensor import Tensor
from .tracing import Number
from .wayback import NAMES, WayBack, keep_target, record, record_in_place
from .writing import apart, refuse_recording, writable

#: typing rules: what dtype an operator computes in and what it returns
RULES = (
    "same", "float", "floats", "compare", "logical", "bitwise", "number", "no bool",
    "copy",
)  # fmt: skip

_MOST_PLANS = 4000


class Plan:
    """All that one combination of operand specs decides, addresses apart."""

    __slots__ = (
        "out",
        "run",
        "kernel",
        "n",
        "table",
        "differentiable",
        "compute",
        "specs",
        "shape",
        "tensors",
        "numbers",
        "ways_back",
        "launch",
    )

    out: Spec
    run: Callable[..., None]  # run(kernel, n, *pointers, table, *numbers)
    kernel: int
    n: int
    table: int
    differentiable: bool
    compute: dtype
    specs: tuple[Any, ...]  # Spec of each tensor, type of each number
    shape: tuple[int, ...]
    tensors: tuple[int, ...]  # which arguments are tensors
    numbers: tuple[int, ...]
    ways_back: dict[int, WayBack]
    launch: Any  # keeps the layout table alive


class Elementwise:
    """An operator computed element by element.

    `forward` maps expressions to an expression; `vjps` has one rule per argument,
    `(g, *args, out) -> cotangent`, or None where there is none, with `why` saying so.
    `roles` has a letter per argument: t takes part in dtype promotion, b is bool, s is
    a number in the dtype computed in.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Expr],
        vjps: tuple[Callable[..., Any] | None, ...] | None,
        *,
        rule: str = "same",
        roles: str = "",
        why: str = "",
        node_name: str = "",
        check: Callable[..., None] | None = None,
    ) -> None:
        self.name = name
        self.forward = forward
        self.arity = len(roles) or forward.__code__.co_argcount
        self.vjps = vjps
        self.rule = rule
        self.roles = roles or "t" * self.arity
        self.why = why
        self.check = check
        self.node_name = node_name or _camel(name) + "Backward0"
        self.plans: dict[Any, Plan] = {}
        dtypes.default_changed.append(self.plans.clear)
        if rule not in RULES:
            raise ValueError(f"{name}: unknown typing rule {rule!r}")
        if vjps is None and not why:
            raise ValueError(f"{name}: an operator without a vjp must say why")
        if vjps is not None and len(vjps) != self.arity:
            raise ValueError(f"{name}: {self.arity} arguments and {len(vjps)} vjps")

    def __repr__(self) -> str:
        return f"<elementwise operator {self.name}>"

    # planning

    def dtypes(self, args: Sequence[Any]) -> tuple[dtype, dtype]:
        """Return the dtype computed in and the dtype of the result.

        `args` are specs and Python types of numbers. Raises: DTypeError.
        """
        dims: list[dtype] = []
        zero: list[dtype] = []
        numbers: list[dtype] = []
        for arg, role in zip(args, self.roles, strict=True):
            if role != "t":
                continue
            if type(arg) is Spec:
                (dims if arg.ndim else zero).append(arg.dtype)
            else:
                numbers.append(_PYTHON[arg] or dtypes.get_default_dtype())
        common = dtypes.promote(dims, zero, numbers)
        dtypes.check_computes(self.name, common, *dims)
        rule = self.rule
        if rule == "float" and common.category != FLOAT:
            common = dtypes.get_default_dtype()
        if rule == "bitwise" and common.category == FLOAT:
            self._refuse(args, "integer or bool tensors", "Cast with x.to(nt.int64).")
        if rule == "floats" and common.category != FLOAT:
            do = f'"{self.name}" not implemented for {common}. Cast with x.float().'
            self._refuse(args, "a floating-point dtype", do)
        if (rule == "number" and common.category == BOOL) or (
            rule == "no bool" and any(d.category == BOOL for d in dims + zero + numbers)
        ):
            self._refuse(
                args,
                "numbers, not bool",
                "Use logical_xor, logical_not or bitwise operators on masks.",
            )
        if rule in ("compare", "logical"):
            return common, dtypes.bool_
        return common, common

    def _refuse(self, args: Sequence[Any], expected: str, do: str) -> None:
        got = " and ".join(
            str(a.dtype) if type(a) is Spec else a.__name__ for a in args
        )
        raise DTypeError(message(self.name, got, expected, do))

    def plan(self, args: Sequence[Any], into: Spec | None = None) -> Plan:
        """Work out the call for operands described by specs and number types.

        With `into`, results are stored in a tensor of that spec instead of a new one.
        """
        tensors = [k for k, a in enumerate(args) if type(a) is Spec]
        if self.rule == "copy":
            assert into is not None
            result = into.dtype
            compute = args[0].dtype if tensors else result
            shape = tuple(into.shape)
        else:
            compute, result = self.dtypes(args)
            shape = broadcast_shapes(
                self.name, *[tuple(args[k].shape) for k in tensors]
            )
        on = self._device([args[k] for k in tensors], into)
        strides = [
            expand_strides(args[k].shape, args[k].strides, shape) for k in tensors
        ]
        if into is None:
            # numbers count as operands without extent, as 0-d tensors do
            everything = strides + [(0,) * len(shape)] * (len(args) - len(tensors))
            out = spec(result, shape, _output_strides(shape, everything), on)
        else:
            out = self._fit(into, shape, result)
        plan = Plan()
        plan.out = out
        plan.compute = compute
        plan.shape = shape
        plan.specs = tuple(args)
        plan.tensors = tuple(tensors)
        plan.numbers = tuple(k for k in range(len(args)) if k not in tensors)
        plan.differentiable = self.vjps is not None and out.dtype.category == FLOAT
        plan.ways_back = {}
        scalars = tuple((NAMES[k], self.carrier(plan, k)) for k in plan.numbers)
        kinds = tuple(
            None if k in plan.numbers else args[k].dtype.name for k in range(len(args))
        )
        body = launch.Body(
            ("forward", self, compute.name, kinds),
            self.name,
            lambda operands: [self._forward(operands, compute)],
            scalars,
        )
        inputs = [
            launch.Input(NAMES[k], args[k].dtype.name, s)
            for k, s in zip(tensors, strides, strict=True)
        ]
        plan.launch = call = launch.elementwise(
            shape, [(out.dtype.name, out.strides)], inputs, body, on
        )
        plan.run = call.run if out.numel else _nothing
        plan.kernel, plan.n, plan.table = call.kernel, call.n, call.table
        return plan

    def _device(self, tensors: Sequence[Spec], into: Spec | None) -> device:
        """Return the one device of all tensors. Raises: DeviceError."""
        devices = [s.device for s in tensors]
        if into is not None:
            devices.append(into.device)
        for other in devices[1:]:
            if other is not devices[0]:
                raise mixed_devices(self.name, devices[0], other)
        return devices[0] if devices else CPU

    def carrier(self, plan: Plan, k: int) -> str:
        """Return the dtype in which argument k, a number, reaches a kernel.

        The CPU's takes the bits of a float64 whatever it computes in; on a GPU, where
        a conversion costs more than all else, it comes in the kernel's own dtype.
        """
        if self.roles[k] == "b" or plan.compute.category != FLOAT:
            return "int64"
        return "float64" if plan.out.device is CPU else plan.compute.name

    def _fit(self, into: Spec, shape: tuple[int, ...], result: dtype) -> Spec:
        if into.shape != shape:
            raise ShapeError(
                message(
                    self.name,
                    f"an output of shape {list(into.shape)}",
                    f"the broadcast shape {list(shape)}",
                    f"output with shape {list(into.shape)} doesn't match the broadcast "
                    f"shape {list(shape)}. Use the operator that returns a new tensor.",
                )
            )
        if not dtypes.can_cast(result, into.dtype):
            raise DTypeError(
                message(
                    self.name,
                    f"a result of {result} to store in {into.dtype}",
                    "a dtype of the same category",
                    f"result type {result.name} can't be cast to the desired output "
                    f"type {into.dtype.name}. Use the operator that returns a new "
                    "tensor.",
                )
            )
        return into

    def operands(self, values: dict[str, Expr], compute: dtype) -> list[Expr]:
        """Return the loaded arguments in the dtypes that the expressions expect."""
        found = []
        for k, role in enumerate(self.roles):
            value = values[NAMES[k]]
            if role == "b" or self.rule == "logical":
                found.append(cast(value, "bool"))
            elif self.rule == "copy":
                found.append(cast(value, compute.name))
            elif compute.category == BOOL and self.rule != "bitwise":
                found.append(cast(value, "uint8"))  # True + True is True, by way of 2
            else:
                found.append(cast(value, compute.name))
        return found

    def _forward(self, values: dict[str, Expr], compute: dtype) -> Expr:
        try:
            return self.forward(*self.operands(values, compute))
        except TypeError as error:  # a literal, say, that the dtype does not have
            raise DTypeError(
                message(
                    self.name,
                    f"operands that meet in {compute}",
                    "a dtype that its expression is made for",
                    f'"{self.name}" not implemented for {compute}: {error}.',
                )
            ) from None

    # calling

    def __call__(self, *args: Any, out: Tensor | None = None) -> Tensor:
        if len(args) != self.arity:
            raise TypeError(
                f"{self.name}: got {len(args)} arguments; expected {self.arity}"
            )
        if out is not None:
            return self.store(out, args, "out=")
        key = tuple([a._spec if isinstance(a, Tensor) else type(a) for a in args])
        plan = self.plans.get(key)
        if plan is None:
            args = tuple(self.arguments(args))
            key = tuple([a._spec if isinstance(a, Tensor) else type(a) for a in args])
            if _named(key):
                return boundary.elementwise(self, args)
            plan = self.plans.get(key) or self._remember(key, self.plan(key))
        if self.check is not None:
            self.check(*args)
        result = empty(plan.out)
        plan.run(
            plan.kernel,
            plan.n,
            result._pointer,
            *[args[k]._pointer for k in plan.tensors],
            plan.table,
            *[args[k] for k in plan.numbers],
        )
        if plan.differentiable and grad_mode.enabled:
            for k in plan.tensors:
                if args[k].requires_grad:
                    record(self, plan, result, args)
                    break
        return result

    def _remember(self, key: Any, plan: Plan) -> Plan:
        if len(self.plans) >= _MOST_PLANS:
            self.plans.clear()
        self.plans[key] = plan
        return plan

    def arguments(self, args: Sequence[Any]) -> list[Any]:
        """Return the arguments as Tensors and plain Python numbers.

        Raises: DTypeError, something that is neither.
        """
        found = list(args)
        on = None
        for k, a in enumerate(found):
            if type(a) in _NUMBERS:
                continue
            if not isinstance(a, Tensor):
                a = found[k] = as_number(self.name, a)
            if isinstance(a, Tensor) and (on is None or on is CPU):
                on = a._spec.device
        if on is not None and on is not CPU:
            # a 0-d tensor of the host may meet those of a device, as in PyTorch
            found = [
                a.to(on)
                if isinstance(a, Tensor) and a.ndim == 0 and a.device is CPU
                else a
                for a in found
            ]
        if on is None and self.rule != "copy":
            raise DTypeError(
                message(
                    self.name,
                    ", ".join(type(a).__name__ for a in args),
                    "at least one Tensor",
                    "Make one with nt.tensor(...).",
                )
            )
        return found

    def in_place(self, target: Tensor, *others: Any) -> Tensor:
        """Store the result of `self(target, *others)` in `target`.

        Raises: AutogradError, a leaf that requires grad; ShapeError, a result larger
        than the target, or a target whose elements share memory; DTypeError.
        """
        return self.store(target, (target, *others), "in place")

    def store(self, target: Tensor, args: Sequence[Any], how: str) -> Tensor:
        """Store the result in an existing tensor; `in_place` and `out=` meet here."""
        args = self.arguments(args)
        recorded = grad_mode.enabled and (
            (target.requires_grad and how != "out=")
            or any(isinstance(a, Tensor) and a.requires_grad for a in args)
        )
        if how == "out=" and grad_mode.enabled and (recorded or target._requires_grad):
            refuse_recording(self.name)
        target = writable(self.name, target, recorded)
        # first, since a copy that sets an operand apart may have other strides
        args = [
            apart(self.name, target, a) if isinstance(a, Tensor) else a for a in args
        ]
        specs = [a._spec if isinstance(a, Tensor) else type(a) for a in args]
        key = ("into", target._spec, *specs)
        plan = self.plans.get(key)
        if plan is None:
            if _named((target._spec, *specs)):
                return boundary.store(self, target, args, how)
            plan = self._remember(key, self.plan(specs, target._spec))
        if self.check is not None:
            self.check(*args)
        versions = [args[k]._storage.version for k in plan.tensors]
        before = edge(target) if recorded else None
        kept = None
        if recorded and plan.differentiable:
            kept = keep_target(self, plan, target, args)
        plan.run(
            plan.kernel,
            plan.n,
            target._pointer,
            *[args[k]._pointer for k in plan.tensors],
            plan.table,
            *[args[k] for k in plan.numbers],
        )
        target._storage.version += 1
        if recorded and plan.differentiable:
            record_in_place(self, plan, target, args, versions, before, kept)
        return target


def _named(specs: Sequence[Any]) -> bool:
    """Whether one of the operands has named dims: they have plans without names."""
    return any(type(s) is Spec and s.names is not None for s in specs)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _nothing(*slots: Any) -> None:
    """Stand in for the kernel call where there are no elements."""


_PYTHON = {bool: dtypes.bool_, int: dtypes.int64, float: None, Number: None}
_NUMBERS = (bool, int, float, Number)
