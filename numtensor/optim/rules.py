"""Update rules of optimisers as kernels: planned by layouts, run in batches.

A `Rule` says what one element's update is, in the words of `ops.m`. An `Update` keeps
what was worked out for it: the kernel of every combination of layouts. Parameters of
few elements are updated in one call for all of them, larger ones by a launch each.
Knows tensors, and neither parameter groups nor what any optimiser is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import launch
from ..devices import CPU
from ..dtypes import FLOAT, check_computes
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..kernels import compiler, tasks
from ..kernels.expr import Expr, cast, var
from ..layout import has_internal_overlap, is_dense
from ..memory import overlap
from ..spec import Spec
from ..tensor import Tensor
from ..writing import may_meet

#: elements up to which a parameter is updated together with others: beyond, threads pay
FEW = 8192
#: the same on a CUDA device, where it is launches that cost
FEW_ON_DEVICE = 65536


@dataclass(frozen=True)
class Rule:
    """The update of one element.

    `build(scalars)(*written, grad)` returns the new values of `written`: the parameter,
    then what the optimiser keeps for it. `key` says all that the expression depends on;
    `scalars` are the names of numbers given at each step.
    """

    key: Hashable
    name: str
    written: tuple[str, ...]
    scalars: tuple[str, ...]
    build: Callable[..., Sequence[Expr]]

    def evaluate(self, values: dict[str, Expr], kinds: Sequence[str]) -> list[Expr]:
        """Return the new values, given the old ones, the gradient and the scalars.

        All is computed in the parameter's dtype; `kinds` are those of `written`.
        """
        kind = kinds[0]
        given = [cast(values[name], kind) for name in (*self.written, "grad")]
        numbers = {name: cast(values[name], kind) for name in self.scalars}
        results = self.build(*given, **numbers)
        return [cast(r, k) for r, k in zip(results, kinds, strict=True)]


class Row:
    """A rule at tensors of some layouts: a launch without addresses.

    `header` is the address of what `kernels.rows` wants to know of it; `few` says that
    it may be run together with others.
    """

    __slots__ = ("launch", "header", "few", "on", "kinds", "n", "_memory")

    def __init__(self, rule: Rule, specs: Sequence[Spec]) -> None:
        param = specs[0]
        self.on = param.device
        self.n = param.numel
        self.kinds = tuple(s.dtype.name for s in specs)
        check(rule, specs)
        kinds = self.kinds[:-1]
        named = zip((*rule.written, "grad"), specs, strict=True)
        body = launch.Body(
            (rule.key, self.kinds),
            rule.name,
            lambda values: rule.evaluate(values, kinds),
            tuple((name, param.dtype.name) for name in rule.scalars),
        )
        self.launch = launch.elementwise(
            param.shape,
            [(s.dtype.name, s.strides) for s in specs[:-1]],
            [launch.Input(name, s.dtype.name, s.strides) for name, s in named],
            body,
            self.on,
        )
        alike = all(
            s.strides == param.strides and s.dtype is param.dtype for s in specs
        )
        if self.on is CPU:
            self.few = self.n <= FEW
            facts = [self.launch.kernel, self.launch.n, self.launch.table, int(alike)]
            facts += [s.nbytes for s in specs]
            self._memory = (ctypes.c_int64 * len(facts))(*facts)
            self.header = ctypes.addressof(self._memory)
        else:
            dense = alike and is_dense(param.shape, param.strides)
            self.few = dense and self.n <= FEW_ON_DEVICE
            self.header = 0

    def run(self, pointers: Sequence[int], scalars: Sequence[float]) -> None:
        """Update one parameter; `pointers` are those of `written`, then the grad's."""
        call = self.launch
        call.run(
            call.kernel, call.n, *pointers[:-1], *pointers, call.table, *scalars
        )  # fmt: skip


def check(rule: Rule, specs: Sequence[Spec]) -> None:
    """Refuse layouts that a rule cannot update. Raises: DTypeError, ShapeError,
    DeviceError."""
    param = specs[0]
    if param.dtype.category != FLOAT:
        raise DTypeError(
            message(
                f"{rule.name} step",
                f"a parameter of {param.dtype}",
                "a floating-point dtype",
            )
        )
    check_computes(f"{rule.name} step", *[s.dtype for s in specs])
    for name, s in zip((*rule.written[1:], "grad"), specs[1:], strict=True):
        if s.device is not param.device:
            raise mixed_devices(f"{rule.name} step", param.device, s.device)
        if s.shape != param.shape:
            raise ShapeError(
                message(
                    f"{rule.name} step",
                    f"a parameter of shape {list(param.shape)} and {name} of shape "
                    f"{list(s.shape)}",
                    "one shape",
                    "A loaded state must be that of the same parameters.",
                )
            )
    for s in specs[:-1]:
        if has_internal_overlap(s.shape, s.strides):
            raise ShapeError(
                message(
                    f"{rule.name} step",
                    f"a parameter of shape {list(s.shape)} and strides "
                    f"{list(s.strides)}",
                    "elements that do not share memory",
                    "unsupported operation: more than one element of the written-to "
                    "tensor refers to a single memory location. Please clone() the "
                    "tensor before performing the operation.",
                )
            )


class Update:
    """A rule with all that has been planned for it.

    `headers` leads from the specs of a parameter, of what is kept for it and of its
    gradient to the header of a row that can be run by `rows`, or 0 for one of many
    elements in host memory; what is not in there has to go through `Batch`.
    """

    __slots__ = ("rule", "headers", "found", "shape", "last", "run", "count_up")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        # found with the first row: steps that are traced have none
        self.run: Any = None
        self.count_up: Any = None
        self.headers: dict[tuple[Spec, ...], int] = {}
        self.found: dict[tuple[Spec, ...], Row] = {}
        written = len(rule.written)
        #: what `rows` wants to know before its scalars
        self.shape = (written, written + 1, len(rule.scalars))
        #: the last launch of many rows on a device, by what was in its table
        self.last: dict[Hashable, tuple[list[int], Any]] = {}

    def row(self, specs: tuple[Spec, ...]) -> Row:
        """Return the row of these layouts, planning it the first time."""
        found = self.found.get(specs)
        if found is None:
            if self.run is None:
                self.run = compiler.runner("rows", "rows")
                self.count_up = compiler.runner("count_up", "rows")
            if len(self.found) >= 4096:
                self.found.clear()
                self.headers.clear()
            found = self.found[specs] = Row(self.rule, specs)
            if found.on is CPU and found.n:
                self.headers[specs] = found.header if found.few else 0
        return found


class Batch:
    """Updates of one rule with the same scalars, collected and then run."""

    def __init__(self, update: Update, scalars: tuple[float, ...]) -> None:
        self.update = update
        self.scalars = scalars
        self.rows: list[tuple[Row, list[int]]] = []
        self.storages: list[Any] = []
        self.held: list[Tensor] = []  # copies of gradients, until they have been used

    def add(self, written: Sequence[Tensor], grad: Tensor) -> None:
        """Take in a parameter, what is kept for it, and its gradient."""
        grad = self.apart(written, grad)
        row = self.update.row((*[t._spec for t in written], grad._spec))
        if not row.n:
            return
        for t in written:
            t._storage.version += 1  # memory that must not be written refuses here
        pointers = [t._pointer for t in written]
        pointers.append(grad._pointer)
        if row.on is not CPU and self._meets(written, grad):
            self.run()
        self.rows.append((row, pointers))
        self.storages.append((written, grad))

    def apart(self, written: Sequence[Tensor], grad: Tensor) -> Tensor:
        """Return the gradient, or a copy if a kernel would overwrite it unread."""
        for t in written:
            if not may_meet(t._storage, grad._storage):
                continue
            how = overlap(t, grad)
            if how == "none" or (how == "full" and t._spec is grad._spec):
                continue
            grad = grad.detach().clone()
            self.held.append(grad)
            break
        for k, t in enumerate(written):
            for other in written[:k]:
                if may_meet(t._storage, other._storage) and overlap(t, other) != "none":
                    raise ShapeError(
                        message(
                            f"{self.update.rule.name} step",
                            "a state that shares memory with its parameter",
                            "memory of its own",
                            "clone() the tensors of the state.",
                        )
                    )
        return grad

    def _meets(self, written: Sequence[Tensor], grad: Tensor) -> bool:
        """Whether this must not run at the same time as what has been collected."""
        for others, other_grad in self.storages:
            pairs = [(t, o) for t in written for o in (*others, other_grad)]
            pairs += [(grad, o) for o in others]
            for a, b in pairs:
                if may_meet(a._storage, b._storage) and overlap(a, b) != "none":
                    return True
        return False

    def run(self) -> None:
        """Run what was collected: what is large by itself, the rest together."""
        rows, self.rows, self.storages = self.rows, [], []
        together: dict[Any, list[tuple[Row, list[int]]]] = {}
        for row, pointers in rows:
            if row.few:
                kinds = () if row.on is CPU else row.kinds
                together.setdefault((row.on, kinds), []).append((row, pointers))
            else:
                row.run(pointers, self.scalars)
        for (on, kinds), members in together.items():
            if on is CPU:
                self._rows(members)
            elif len(members) == 1:
                members[0][0].run(members[0][1], self.scalars)
            else:
                run_on_device(self.update, on, kinds, members, self.scalars)
        self.held.clear()

    def _rows(self, members: Sequence[tuple[Row, list[int]]]) -> None:
        flat: list[int] = []
        for row, pointers in members:
            flat.append(row.header)
            flat += pointers
        self.update.run(*self.update.shape, *self.scalars, *flat)


def run_on_device(
    update: Update,
    on: Any,
    kinds: tuple[str, ...],
    members: Sequence[tuple[Row, list[int]]],
    scalars: tuple[float, ...],
) -> None:
    """Run many rows of one combination of dtypes by one launch on a CUDA device."""
    width = max(row.n for row, _ in members)
    numbers = [width]
    for row, pointers in members:
        numbers.append(row.n)
        numbers += pointers
    last = update.last.get((on, kinds))
    if last is None or last[0] != numbers:
        wanted = tasks_of(update.rule, kinds)
        call = launch.by_tasks(wanted, width * len(members), numbers, on)
        update.last[on, kinds] = last = (numbers, call)
    call = last[1]
    call.run(call.kernel, call.n, call.table, *scalars)


def tasks_of(rule: Rule, kinds: tuple[str, ...]) -> tasks.Tasks:
    """Return the kernel of many rows on a device, `kinds` being the tensors' dtypes.

    Its table: tasks for a row, then of each row the number of elements and the
    addresses of its tensors. Task i of a row takes the elements i, i + tasks, ...
    """
    names = (*rule.written, "grad")

    def build(s: tasks.Lines) -> None:
        s.add(
            "row = udiv(i, width)",
            "j = i - row * width",
            f"entry = 1 + row * {len(names) + 1}",
            "n = table[entry]",
        )
        for k, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            s.add(f"{name} = {s.word(f'{kind}_at')}(table[entry + {k + 1}])")
        s.open("while j < n:")
        values = {}
        for name, kind in zip(names, kinds, strict=True):
            s.add(f"{name}_j = {name}[j]")
            values[name] = var(f"{name}_j", kind)
        values |= {name: var(name, kinds[0]) for name in rule.scalars}
        results = [s.value(e) for e in rule.evaluate(values, kinds[:-1])]
        for name, result in zip(rule.written, results, strict=True):
            s.add(f"{name}[j] = {result}")
        s.add("j += width")
        s.close()

    return tasks.Tasks(
        ("optimiser", rule.key, kinds),
        f"{rule.name}_many",
        f"{rule.name} of many parameters, {', '.join(kinds)}.",
        (),
        build,
        numbers=("width",),
        scalars=tuple((name, kinds[0]) for name in rule.scalars),
    )
