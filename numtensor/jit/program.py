"""Programs: the kernels of a trace, and how they are run, again and again.

Steps that need nothing of Python follow each other in one call (`kernels.sequence`);
between such calls come kernels that use threads. Temporaries lie in one block of
memory, those whose lives do not overlap in the same place. Knows nothing of tensors:
addresses go in.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import device_memory, storage
from ..devices import CPU, device
from ..kernels import compiler
from ..kernels.expr import Expr, cast
from .ir import Buffer, Group
from .lower import Item, lower
from .numbers import evaluator, place_of
from .small import refs_of
from .steps import At, Drawn, Given, Part, Step

#: temporaries up to so many bytes are kept by the program, if no thread but the one
#: that holds the interpreter lock ever uses them
_KEPT = 1 << 20
#: ... if there is a program for every size
_KEPT_OF_MANY = 1 << 16
_ALIGN = 64
#: how long one native call of `repeat` may take, in seconds: it holds the lock
_TURN = 0.01


class Program:
    """Groups and nodes, compiled for a device.

    `external` are the buffers whose addresses `run` is given; all others that the items
    name are temporaries. `baked` lets small kernels have their sizes printed in them.
    """

    __slots__ = (
        "run", "parts", "_steps", "_external", "_values", "_native", "_calls", "_kept",
        "_arena", "_on", "_guard", "_tables", "_draws", "_numbers", "_plain",
    "_count",
    )  # fmt: skip

    #: run(pointers, numbers=()) performs everything once. Returns False, having done
    #: nothing, if memory that is written overlaps other memory that was given.
    run: Callable[..., bool | None]

    def __init__(
        self,
        items: Sequence[Item],
        on: device,
        external: Sequence[Buffer],
        baked: bool = True,
    ) -> None:
        self._on = on
        self._external = list(external)
        self._steps = lower(items, on, baked)
        self.parts: list[Part] = [step.part for step in self._steps]
        self._tables: list[Any] = []
        self._kept: Any = None
        offsets, self._arena = arrange(self._steps, self._external)
        only = on is CPU and all(s.call is None for s in self._steps)
        # beside threads a call of Python is nothing, and compiling `sequence` would be
        self._native: Any = compiler.runner("sequence", "sequence") if only else None
        kept = 0
        if only and 0 < self._arena <= (_KEPT if baked else _KEPT_OF_MANY):
            self._kept = storage.allocate(self._arena)
            kept = self._kept.pointer
            self._arena = 0
        self._place(offsets, kept)
        guards = _guards(items, self._external)
        self._guard: Callable[..., Any] | None = None
        if guards and (self._draws or not only):
            # numbers are drawn, and Python steps taken, only if it lets us
            self._guard = self._natively([], guards) if only else _watched(guards)
            guards = []
        self._calls = self._sections(guards)
        fast = only and not self._arena and not self._draws and self._plain
        self.run = self._fast() if fast else self._general

    # What the values of a call are: the external pointers, the numbers of the run (as
    # they come, or worked out), the arena, and what generators reserve.

    def _place(self, offsets: dict[Buffer, int], kept: int) -> None:
        """Turn slots into (which value, what is added, is it a float) or constants."""
        external = {buffer: k for k, buffer in enumerate(self._external)}
        given = [x for s in self._steps for x in s.slots if isinstance(x, Given)]
        known: dict[tuple[object, bool], int] = {}
        wanted: list[Expr] = []
        places = [place_of(g.value) if g.floating else None for g in given]
        self._plain = None not in places
        first = len(external)
        count = 1 + max([p for p in places if p is not None], default=-1)
        if not self._plain:
            for g in given:
                key = (id(g.value), g.floating)
                if key not in known:
                    known[key] = len(wanted)
                    wanted.append(cast(g.value, "float64" if g.floating else "int64"))
            count = len(wanted)
        self._count = count
        self._numbers = None if self._plain else evaluator(wanted)
        arena = first + count
        drawn = arena + (1 if self._arena else 0)
        self._draws: list[Drawn] = []
        self._values: list[list[tuple[int, int, bool] | int]] = []
        for step in self._steps:
            found: list[tuple[int, int, bool] | int] = []
            draw = 0
            for x in step.slots:
                if isinstance(x, At) and x.buffer in external:
                    found.append((external[x.buffer], x.offset, False))
                elif isinstance(x, At) and kept:
                    found.append(kept + offsets[x.buffer] + x.offset)
                elif isinstance(x, At):
                    found.append((arena, offsets[x.buffer] + x.offset, False))
                elif isinstance(x, Given):
                    place = place_of(x.value)
                    if not self._plain:
                        place = known[id(x.value), x.floating]
                    assert place is not None
                    found.append((first + place, 0, x.floating))
                elif isinstance(x, Drawn):
                    if not draw:
                        draw = drawn + 2 * len(self._draws)
                        self._draws.append(x)
                    found.append((draw + x.which, 0, False))
                else:
                    found.append(x)  # type: ignore[arg-type]
            self._values.append(found)

    def _sections(self, guards: list[tuple[int, int]]) -> list[Callable[..., Any]]:
        """Return the calls of one run; only a lone one watches over what is written."""
        if self._native is not None:
            return [self._natively(range(len(self._steps)), guards)]
        return [
            _pythonic(step.call or _alone(step, values), values)
            for step, values in zip(self._steps, self._values, strict=True)
        ]

    def _natively(
        self, which: Sequence[int], guards: list[tuple[int, int]]
    ) -> Callable[..., Any]:
        """Return the call that runs some steps, without Python between them."""
        header: list[int] = []
        for nbytes, written in guards:
            header += [nbytes, written, -1]
        found = [x for k in which for x in self._values[k] if isinstance(x, tuple)]
        needed = max([len(guards), *(1 + value for value, _, _ in found)])
        kinds = [int(k < len(guards)) for k in range(needed)]
        for value, _, floating in found:
            kinds[value] = 1 + floating
        begin = 4 + 2 * needed + len(header) + 3 * len(found) + 3 * len(which)
        fills: list[int] = []
        steps: list[int] = []
        slots: list[int] = []
        for k in which:
            steps += [self._steps[k].kernel, self._steps[k].n, begin + len(slots)]
            for x in self._values[k]:
                if isinstance(x, tuple):
                    fills += [begin + len(slots), x[0], x[1]]
                    slots.append(0)
                else:
                    slots.append(_bits(x))
        numbers = [needed, len(guards), len(found), len(which)]
        for kind in kinds:
            numbers += [kind, 0]
        numbers += header + fills + steps + slots
        table = (ctypes.c_int64 * len(numbers))(*numbers)
        self._tables.append(table)
        address, native = ctypes.addressof(table), self._native

        def call(values: Sequence[Any], times: int = 1) -> Any:
            return native(address, times, *values)

        return call

    def _fast(self) -> Callable[..., bool | None]:
        native, address = self._native, ctypes.addressof(self._tables[0])

        def run(
            pointers: Sequence[int],
            numbers: Sequence[float] = (),
            # what the addresses in use belong to, for as long as this function lives
            held: object = (self._tables, self._kept, self._steps),
        ) -> bool | None:
            return None if native(address, 1, *pointers, *numbers) is None else False

        return run

    def _given(self, pointers: Sequence[int], numbers: Sequence[float]) -> list[Any]:
        values: list[Any] = [*pointers]
        if self._numbers is not None:
            values += self._numbers(numbers)
        else:
            values += numbers[: self._count]
        return values

    def _general(
        self, pointers: Sequence[int], numbers: Sequence[float] = ()
    ) -> bool | None:
        guard = self._guard
        if guard is not None and guard(pointers) is not None:
            return False
        values = self._given(pointers, numbers)
        arena = None
        if self._arena:
            arena = self._allocate()
            values.append(arena.pointer)
        for draw in self._draws:
            values += draw.generator._reserve(draw.counters)
        for call in self._calls:
            if call(values) is not None:
                return False
        return None

    def _allocate(self) -> storage.Storage:
        if self._on is CPU:
            return storage.allocate(self._arena)
        return device_memory.allocate(self._on, self._arena)

    def repeat(
        self, n: int, pointers: Sequence[int], numbers: Sequence[float] = ()
    ) -> bool | None:
        """Perform everything n times; natively, where nothing needs Python between.

        Returns False, having done nothing, where `run` would.
        """
        if self._guard is None and not self._draws and self._tables:
            assert len(self._calls) == 1
            values = self._given(pointers, numbers)
            arena = self._allocate() if self._arena else None
            if arena is not None:
                values.append(arena.pointer)
            return self._turns(n, values)
        for _ in range(n):
            if self.run(pointers, numbers) is False:
                return False
        return None

    def _turns(self, n: int, values: list[Any]) -> bool | None:
        """Run in turns, between which other threads and signals are heard."""
        turn = 1
        call = self._calls[0]
        while n > 0:
            now = min(n, turn)
            start = time.perf_counter()
            if call(values, now) is not None:
                return False
            n -= now
            if time.perf_counter() - start < _TURN / 2:
                turn *= 2
        return None

    def source(self) -> str:
        """Return the texts of all kernels in order, each under what it does."""
        texts: list[str] = []
        for part in self.parts:
            if part.source is None:
                text = "# done by the library that it is called with"
            else:
                text = Path(part.source).read_text(encoding="utf-8").rstrip()
            texts.append(f"# {part.kind}: {part.title}\n{text}\n")
        return "\n\n".join(texts)


def _watched(guards: Sequence[tuple[int, int]]) -> Callable[..., Any]:
    """Return what tells of external memory that is written and overlaps other."""
    sizes = [nbytes for nbytes, _ in guards]
    written = [k for k, (_, writes) in enumerate(guards) if writes]

    def guard(pointers: Sequence[int]) -> bool | None:
        for k in written:
            first = pointers[k]
            last = first + sizes[k]
            for j, nbytes in enumerate(sizes):
                if j != k and pointers[j] < last and first < pointers[j] + nbytes:
                    return True
        return None

    return guard


def _alone(
    step: Step, slots: Sequence[tuple[int, int, bool] | int]
) -> Callable[..., None]:
    """Return the call of a step that needs nothing of Python."""
    serial = compiler.runner("serial")
    floats = [x[2] if isinstance(x, tuple) else isinstance(x, float) for x in slots]

    def call(*given: Any) -> None:
        bits = [
            _bits(float(x)) if floating else x
            for x, floating in zip(given, floats, strict=True)
        ]
        serial(step.kernel, step.n, *bits)

    return call


def _bits(x: float | int) -> int:
    if isinstance(x, float):
        return int.from_bytes(struct.pack("<d", x), "little", signed=True)
    return int(x)


def _pythonic(
    call: Callable[..., Any], slots: Sequence[tuple[int, int, bool] | int]
) -> Callable[[Sequence[Any]], None]:
    """Return what calls a step that is a Python function."""

    def perform(values: Sequence[Any]) -> None:
        call(
            *[
                x
                if type(x) is not tuple
                else values[x[0]] + x[1]
                if x[1]
                else values[x[0]]
                for x in slots
            ]
        )

    return perform


def _guards(items: Sequence[Item], external: Sequence[Buffer]) -> list[tuple[int, int]]:
    """Return bytes of every external buffer, and whether it is written, if any is."""
    written: set[Buffer] = set()
    for item in items:
        if isinstance(item, Group):
            count = len(item.inputs)
            refs = refs_of(item)
            written.update(r.buffer for r in refs[: len(refs) - count])
        else:
            written.update(ref.buffer for ref, _ in item.writes)
    if not written & set(external):
        return []
    return [(b.nbytes, int(b in written)) for b in external]


def arrange(
    steps: Sequence[Step], external: Sequence[Buffer]
) -> tuple[dict[Buffer, int], int]:
    """Return where in one block each temporary lies, and how large the block is.

    Two that are touched by one step never share bytes.
    """
    known = set(external)
    lives: dict[Buffer, tuple[int, int]] = {}
    for k, step in enumerate(steps):
        for x in step.slots:
            if isinstance(x, At) and x.buffer not in known:
                lives[x.buffer] = (lives.get(x.buffer, (k, k))[0], k)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    offsets: dict[Buffer, int] = {}
    for buffer in sorted(lives, key=lambda b: -b.nbytes):
        first, last = lives[buffer]
        size = -(-max(buffer.nbytes, 1) // _ALIGN) * _ALIGN
        offset = 0
        for begin, end, born, dead in sorted(placed):
            if (
                born <= last
                and first <= dead
                and begin < offset + size
                and offset < end
            ):
                offset = end
        placed.append((offset, offset + size, first, last))
        offsets[buffer] = offset
    return offsets, max([end for _, end, _, _ in placed], default=0)
