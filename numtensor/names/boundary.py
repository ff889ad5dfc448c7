"""Where named tensors enter an operator and leave it.

Operators compute without names. A call with a named tensor turns dims given by name
into integers, asks the operator's rule for the names of the result, takes the names off
its tensors, runs the operator, and names what it returns. So names reach neither
kernels nor the tape, and errors of names come before anything runs. Calls without a
named tensor do not come here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, NamedTuple

from ..errors import DimNameError, message
from ..tensor import Tensor
from . import rules, words
from .tensors import NamedTensor, bare, named, renamed, without_names
from .words import Names

#: parameters that say which dims, in all operators
DIMS = frozenset(
    ("dim", "dims", "dim0", "dim1", "dim2", "axis", "axes", "axis0", "axis1",
     "dimension", "start_dim", "end_dim", "source", "destination")
)  # fmt: skip

#: parameters that take anything, but no tensor
_NO_TENSORS = DIMS | frozenset(
    ("size", "sizes", "shape", "dtype", "device", "layout", "memory_format", "names",
     "generator", "keepdim", "p", "ord", "equation", "reduction", "mode", "padding",
     "stride", "dilation", "kernel_size", "output_size", "split_size_or_sections")
)  # fmt: skip

#: methods and operators that were declared without a rule; they drop names
UNKNOWN: set[str] = set()


#: what errors call a method of Python's
_LABELS = {"__getitem__": "index", "__rmatmul__": "matmul"}


class Named:
    """A plain operator as it is called with named tensors."""

    def __init__(self, op: str, plain: Callable[..., Any], rule: Any) -> None:
        self.op = _LABELS.get(op, op.strip("_"))
        self.plain = plain
        self.rule = rule
        self.signature: _Signature | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        rule = self.rule
        if hasattr(rule, "whole"):
            return rule(self.plain, *args, **kwargs)
        given = _all_tensors(args) + _all_tensors(kwargs.values())
        if not any(x._spec.names is not None for x in given):
            return self.plain(*args, **kwargs)
        if rule == "in place":
            return self.in_place(*args, **kwargs)
        out = kwargs.get("out")
        args, kwargs, bound = self.translated(args, kwargs)
        rule = rules.RULES[rule] if isinstance(rule, str) else rule
        names = rule(bound)
        if isinstance(names, str):
            names = rules.RULES[names](bound)
        origin: dict[int, Tensor] = {}
        args = tuple([_stripped(a, origin) for a in args])
        if isinstance(out, Tensor):
            return self.into(out, names, args, {**kwargs, "out": out}, origin)
        kwargs = {k: _stripped(v, origin) for k, v in kwargs.items()}
        result = self.plain(*args, **kwargs)
        originals = {id(x): x for x in given}
        return _dressed(self.op, result, names, origin, originals)

    def in_place(self, *args: Any, **kwargs: Any) -> Any:
        """Change the first tensor, which keeps its names."""
        target = args[0]
        args, kwargs, _ = self.translated(args, kwargs)
        origin: dict[int, Tensor] = {}
        others = tuple([_stripped(a, origin) for a in args[1:]])
        kwargs = {k: _stripped(v, origin) for k, v in kwargs.items()}
        with without_names(target):
            return self.plain(target, *others, **kwargs)

    def into(
        self,
        out: Tensor,
        names: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        origin: dict[int, Tensor],
    ) -> Any:
        """Store in `out`, whose names are those of the result or none."""
        names = words.checked(self.op, names, out.ndim) if names else None
        check_out(self.op, out, names)
        kwargs = {k: v if v is out else _stripped(v, origin) for k, v in kwargs.items()}
        with without_names(out):
            result = self.plain(*args, **kwargs)
        named(out, names)
        return result

    def translated(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        """Return the arguments with dims as integers, and all of them by name."""
        if self.signature is None:
            self.signature = _signature(self.plain)
        params, star = self.signature.params, self.signature.star
        own: Names | None = None
        labels = [*params[: len(args)]]
        labels += [star] * (len(args) - len(labels))
        values = list(args)
        for k, label in enumerate(labels):
            if label in DIMS and _has_text(values[k]):
                own = own or _own_names(self.op, args, kwargs)
                values[k] = _places(self.op, values[k], own)
        keywords = dict(kwargs)
        for label, value in kwargs.items():
            if label in DIMS and _has_text(value):
                own = own or _own_names(self.op, args, kwargs)
                keywords[label] = _places(self.op, value, own)
        bound = dict(zip(params, values, strict=False))
        if star:
            bound[star] = tuple(values[len(params) :])
        bound.update(keywords)
        own_values = self.signature.defaults
        for label, value in zip(params[::-1], own_values[::-1], strict=False):
            bound.setdefault(label, value)
        for label, value in self.signature.kwdefaults.items():
            bound.setdefault(label, value)
        bound["op"] = self.op
        return tuple(values), keywords, bound


def check_out(op: str, out: Tensor, names: Names | None) -> None:
    """Refuse to store a result in a tensor of other names. Raises: DimNameError."""
    own = out._spec.names
    if own is not None and own != names:
        computed = words.text(names or (None,) * out.ndim)
        raise DimNameError(
            message(
                op,
                f"an out tensor with names {words.text(own)}",
                f"those of the result, {computed}, or none",
                f"Name mismatch: specified out tensor with names {words.text(own)} are "
                f"not the same as the computed output names {computed}. Rename the out "
                "tensor's dims with Tensor.rename.",
            )
        )


class _Signature(NamedTuple):
    """The parameters of a function."""

    params: tuple[str, ...]
    star: str  # the name of *args
    only: tuple[str, ...]  # by keyword only
    more: str  # the name of **kwargs
    defaults: tuple[Any, ...]
    kwdefaults: dict[str, Any]
    hints: dict[str, str]  # annotations as text


def _signature(call: Any) -> _Signature:
    """Return a function's parameters.

    What passes on all that it gets has the parameters of what it wraps.
    """
    code = call.__code__
    names = code.co_varnames
    inner = getattr(call, "__wrapped__", None)
    if inner is not None and code.co_flags & 12 == 12:
        found = _signature(inner)
        own = names[: code.co_argcount]
        return found._replace(params=(*own, *found.params[len(own) :]))
    count, only = code.co_argcount, code.co_kwonlyargcount
    place = count + only
    star = more = ""
    if code.co_flags & 4:
        star, place = names[place], place + 1
    if code.co_flags & 8:
        more = names[place]
    hints = {k: str(v) for k, v in call.__annotations__.items()}
    return _Signature(
        names[:count], star, names[count : count + only], more,
        call.__defaults__ or (), call.__kwdefaults__ or {}, hints,
    )  # fmt: skip


def _all_tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found.extend(v for v in value if isinstance(v, Tensor))
    return found


def _own_names(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Names:
    """Return the names that dims refer to: the first tensor's, or a list's unified."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.names
        if isinstance(value, (tuple, list)) and any(
            isinstance(v, Tensor) for v in value
        ):
            return rules.unify_all(op, [v for v in value if isinstance(v, Tensor)])
    return ()


def _has_text(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_text(v) for v in value)
    return isinstance(value, str)


def _places(op: str, value: Any, names: Names) -> Any:
    if isinstance(value, str):
        return words.position(op, value, names)
    if isinstance(value, (tuple, list)):
        return type(value)([_places(op, v, names) for v in value])
    return value


def _stripped(value: Any, origin: dict[int, Tensor]) -> Any:
    """Return an argument without names; `origin` learns which tensor it was."""
    if isinstance(value, NamedTensor):
        if value._spec.names is None:
            return value
        plain = bare(value)
        origin[id(plain)] = value
        return plain
    if type(value) in (tuple, list):
        return type(value)([_stripped(v, origin) for v in value])
    if isinstance(value, slice) and any(
        isinstance(v, NamedTensor) for v in (value.start, value.stop, value.step)
    ):
        return slice(
            *[_stripped(v, origin) for v in (value.start, value.stop, value.step)]
        )
    return value


def _dressed(
    op: str,
    result: Any,
    names: Any,
    origin: dict[int, Tensor],
    given: dict[int, Tensor],
) -> Any:
    """Return what an operator returned with names."""
    if isinstance(result, Tensor):
        return _dressed_tensor(op, result, names, origin, given)
    if isinstance(result, (tuple, list)):
        each = names if isinstance(names, list) else [names] * len(result)
        made = [
            _dressed(op, r, n, origin, given) for r, n in zip(result, each, strict=True)
        ]
        if hasattr(result, "_fields"):
            return type(result)(*made)
        return type(result)(made)
    return result


def _dressed_tensor(
    op: str,
    result: Tensor,
    names: Names | None,
    origin: dict[int, Tensor],
    given: dict[int, Tensor],
) -> Tensor:
    if names is not None and len(names) != result.ndim:
        if result.ndim:
            raise DimNameError(
                message(
                    op,
                    f"names {words.text(names)} for a result of {result.ndim} dims",
                    "a name, or None, for each dim",
                    "Drop names with rename(None) first.",
                )
            )
        names = None
    if names is not None and not any(name is not None for name in names):
        names = None
    before = origin.get(id(result))
    if before is not None:
        same = before._spec.names == names
        return before if same else renamed(before, names)
    if id(result) in given:
        return result if names is None else renamed(result, names)
    return named(result, names)


# The engine's own operators: they come here where no plan is known


def elementwise(operator: Any, args: Sequence[Any]) -> Tensor:
    """Call an elementwise operator on tensors of which one has names."""
    found = [a for a in args if isinstance(a, Tensor)]
    names = rules.unify_all(operator.name, found)
    result = operator(*[bare(a) if isinstance(a, Tensor) else a for a in args])
    return named(result, names)


def store(operator: Any, target: Tensor, args: Sequence[Any], how: str) -> Tensor:
    """Store the result of an elementwise operator in a tensor that exists.

    In place, the names of the target take part. In `out`, they are those of the result
    if it has any. The target has the names of the result afterwards.
    """
    found = [a for a in args if isinstance(a, Tensor)]
    names = rules.unify_all(operator.name, found)
    if how == "out=":
        names = words.unified(operator.name, (None,) * target.ndim, names)
        check_out(operator.name, target, names)
    else:
        names = words.unified(operator.name, target.names, names)
    if len(names) == target.ndim:
        words.checked(operator.name, names, target.ndim)
    with without_names(target):
        operator.store(
            target,
            [bare(a) if isinstance(a, Tensor) and a is not target else a for a in args],
            how,
        )
    return named(target, names)


def reduction(
    operator: Any, x: Tensor, dim: Any, keepdim: bool, dtype: Any = None
) -> Tensor:
    """Reduce a tensor with names over dims given by place or name."""
    if _has_text(dim):
        dim = _places(operator.name, dim, x.names)
    result = operator(bare(x), dim, keepdim, dtype)
    names = rules.reduce({"input": x, "dim": dim, "keepdim": keepdim})
    return _dressed_tensor(operator.name, result, names, {}, {})


# What users call


def override(name: str, method: Any, rule: Any) -> None:
    """Give the class of named tensors its own form of a method of Tensor."""
    if rule is None:
        rule = rules.METHODS.get(name)
    if rule is None and name.endswith("_") and not name.startswith("__"):
        rule = "in place"
    if rule is None:
        UNKNOWN.add(name)
        rule = "drop"
    if rule == "own":
        return
    if isinstance(method, property):
        getter: Any = method.fget
        setattr(NamedTensor, name, property(Named(name, getter, rule)))
        return
    enter = Named(name, method, rule)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return enter(self, *args, **kwargs)

    setattr(NamedTensor, name, functools.update_wrapper(call, method))


def guard(name: str, call: Callable[..., Any], rule: Any) -> Callable[..., Any]:
    """Return a function that looks whether one of its tensors has names.

    What the annotations call a Tensor is looked at, and nothing else: this is paid by
    calls without names. So it is printed with the function's own parameters.
    """
    if rule in ("own", "given") or not hasattr(call, "__code__"):
        return call
    found = _signature(call)
    single, several = _tensor_parameters(found)
    if not single and not several:
        return call
    shape = (found.params, found.star, found.only, found.more)
    made = _guard_maker(*shape, single, several)(call, Named(name, call, rule))
    made.__defaults__ = found.defaults
    made.__kwdefaults__ = found.kwdefaults
    return functools.update_wrapper(made, call)


def takes_more(call: Callable[..., Any]) -> bool:
    """Whether a method takes tensors besides the one it belongs to."""
    if not hasattr(call, "__code__"):
        return False
    found = _signature(call)
    single, several = _tensor_parameters(found)
    return any(p != found.params[0] for p in single + several)


def _tensor_parameters(
    found: _Signature,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which parameters may be tensors, and which sequences of them."""
    params, star, hints = found.params, found.star, found.hints
    may = [
        p
        for p in (*params, *found.only)
        if "Tensor" in hints.get(p, "")
        or (hints.get(p, "Any") == "Any" and p not in _NO_TENSORS and p in params)
        if p != "out"
    ]
    several = [p for p in may if "Sequence" in hints.get(p, "")]
    tensors = "Tensor" in hints.get(star, "")
    if star and (tensors or not params or params[0] == "equation"):
        several.append(star)
    return tuple(p for p in may if p not in several), tuple(several)


@functools.cache
def _guard_maker(
    params: tuple[str, ...],
    star: str,
    only: tuple[str, ...],
    more: str,
    single: tuple[str, ...],
    several: tuple[str, ...],
) -> Callable[[Callable[..., Any], Named], FunctionType]:
    """Return what makes a guard for functions with these parameters."""
    head = [*params]
    head += [f"*{star}"] if star else ["*"] if only else []
    head += [*only, *([f"**{more}"] if more else [])]
    passed = [*params, *([f"*{star}"] if star else []), *(f"{k}={k}" for k in only)]
    passed += [f"**{more}"] if more else []
    tests = [f"(type({p}) is not Tensor and isinstance({p}, Named))" for p in single]
    tests += [f"among({p})" for p in several]
    text = (
        f"def guarded({', '.join(head)}):\n"
        f"    if {' or '.join(tests)}:\n"
        f"        return enter({', '.join(passed)})\n"
        f"    return call({', '.join(passed)})\n"
    )
    code = compile(text, "<guard of named tensors>", "exec")

    def make(call: Callable[..., Any], enter: Named) -> FunctionType:
        room: dict[str, Any] = {
            "call": call, "enter": enter, "Tensor": Tensor, "Named": NamedTensor,
            "among": _among, "__name__": __name__,
        }  # fmt: skip
        exec(code, room)
        made: FunctionType = room["guarded"]
        return made

    return make


def _among(values: Any) -> bool:
    """Whether some of the values is a tensor with names."""
    if isinstance(values, (tuple, list)):
        for v in values:
            if type(v) is not Tensor and isinstance(v, NamedTensor):
                return True
    return False
