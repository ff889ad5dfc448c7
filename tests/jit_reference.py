"""Nodes and groups carried out by NumPy, as an oracle that knows nothing of fusion."""

import itertools
import math
import random

import numpy as np

from numtensor.jit.ir import Group, Loop, Matmul, Reduce
from numtensor.kernels.expr import var
from numtensor.kernels.loops import itemsize
from numtensor.layout import is_contiguous

_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "lt": np.less,
    "gt": np.greater,
    "eq": np.equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}
_UNARY = {"neg": np.negative, "exp": np.exp, "sqrt": np.sqrt, "fabs": np.fabs}
_JOIN = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
}


def value_of(x, names, done=None):
    """Evaluate an expression on arrays."""
    done = {} if done is None else done
    if id(x) in done:
        return done[id(x)]
    args = [value_of(a, names, done) for a in x.args]
    if x.op == "var":
        found = np.asarray(names[str(x.value)])
    elif x.op == "const":
        found = np.array(x.value).astype(x.dtype)
    elif x.op == "cast":
        found = convert(args[0], x.dtype)
    elif x.op == "where":
        found = np.where(*args)
    else:
        found = (_BINARY | _UNARY)[x.op](*args)
    assert found.dtype == x.dtype, (x, found.dtype, x.dtype)
    done[id(x)] = found
    return found


def convert(value, dtype):
    """As C converts: by way of int64 into integers, so that what wraps is defined."""
    if dtype == "bool":
        return value != 0
    if value.dtype.kind == "f" and np.dtype(dtype).kind != "f":
        value = np.nan_to_num(value, nan=0, posinf=0, neginf=0)
        return np.clip(value, -(2.0**62), 2.0**62).astype(np.int64).astype(dtype)
    return value.astype(dtype)


def seen(memory, ref, shape):
    """A view of a buffer's bytes."""
    flat = memory[ref.buffer][ref.offset :]
    flat = flat[: flat.size // itemsize(ref.dtype) * itemsize(ref.dtype)]
    flat = flat.view(ref.dtype)
    steps = [s * itemsize(ref.dtype) for s in ref.strides]
    return np.lib.stride_tricks.as_strided(flat, shape, steps)


def loaded(memory, ref, shape):
    found = seen(memory, ref, shape).copy()
    return found.astype("float32") if ref.dtype == "float16" else found


def reduced(value, axes, combine, finish, dtype, names):
    """Join values over axes, and take the last step."""
    wide = combine.total_dtype(str(value.dtype))
    kwargs = {}
    if value.size == 0 and combine.name in ("max", "min"):
        kind = np.dtype(wide)
        low = -math.inf if kind.kind == "f" else np.iinfo(kind).min
        high = math.inf if kind.kind == "f" else np.iinfo(kind).max
        kwargs["initial"] = kind.type(low if combine.name == "max" else high)
    elif combine.name in ("sum", "prod"):
        kwargs["dtype"] = wide
    total = np.asarray(_JOIN[combine.name](value, axis=axes, **kwargs)).astype(wide)
    if finish is not None:
        total = value_of(finish(var("total", wide)), names | {"total": total})
    return convert(total, dtype)


def run_nodes(nodes, memory):
    for node in nodes:
        if isinstance(node, Matmul):
            _matmul(node, memory)
            continue
        names = {n: loaded(memory, r, node.shape) for n, r in node.inputs}
        exprs = {n: var(n, r.dtype) for n, r in node.inputs}
        for (n, dtype), number in zip(node.body.scalars, node.numbers, strict=True):
            names[n] = np.array(number).astype(dtype)
            exprs[n] = var(n, dtype)
        values = [value_of(v, names) for v in node.body.build(exprs)]
        stores = node.outputs if isinstance(node, Loop) else node.stores
        for ref, value in zip(stores, values, strict=False):
            out = seen(memory, ref, node.shape)
            out[...] = convert(value, ref.dtype)
        if isinstance(node, Reduce):
            for ref, r, value in zip(
                node.results, node.reduced, values[len(stores) :], strict=True
            ):
                value = np.broadcast_to(value, node.shape)
                axes = tuple(sorted(node.dims))
                out = seen(memory, ref, node.kept)
                out[...] = reduced(value, axes, r.combine, r.finish, r.dtype, names)


def _matmul(node, memory):
    n, m, k = node.sizes
    a = loaded(memory, node.a, (*node.batch, n, k))
    b = loaded(memory, node.b, (*node.batch, k, m))
    seen(memory, node.out, (*node.batch, n, m))[...] = a @ b


def run_group(group, memory):
    """Carry a group out point by point, in no order.

    Each point loads, computes and stores at once, and totals are stored before values
    of rows are loaded: a group that may not be one shows.
    """
    order = random.Random(0)
    dims = sorted(group.dims)
    kept = [d for d in range(len(group.shape)) if d not in group.dims]
    numbers = {n: np.array(v).astype(t) for n, t, v in group.scalars}
    levels = {}
    for total in group.totals:
        levels[total.name] = 1 + _level(total.value, levels)
        assert total.ref is None or is_contiguous(group.kept, total.ref.strides)
    points = [s for s in group.stores if not s.row]
    at_sweep = [1 + _level(s.value, levels) for s in points]
    assert max([*at_sweep, *levels.values(), 1]) == group.sweeps
    rows = list(itertools.product(*[range(group.shape[d]) for d in kept]))
    order.shuffle(rows)
    later = []
    for row in rows:
        totals = {}
        rest = list(itertools.product(*[range(group.shape[d]) for d in dims]))
        order.shuffle(rest)
        for sweep in range(1, group.sweeps + 1):
            mine = [t for t in group.totals if levels[t.name] == sweep]
            found = {t.name: [] for t in mine}
            for inner in rest:
                index = [0] * len(group.shape)
                for d, i in zip(kept + dims, row + inner, strict=True):
                    index[d] = i
                names = {n: _element(memory, r, index) for n, r in group.inputs}
                names |= numbers | totals
                done = {}
                for t in mine:
                    found[t.name].append(value_of(t.value, names, done))
                values = [
                    (s, value_of(s.value, names, done))
                    for s, k in zip(points, at_sweep, strict=True)
                    if k == sweep
                ]
                for s, value in values:
                    _place(memory, s.ref, index)[...] = convert(value, s.ref.dtype)
            for t in mine:
                totals[t.name] = reduced(
                    np.array(found[t.name]), None, t.combine, t.finish, t.dtype, numbers
                )
                if t.ref is not None:
                    _place(memory, t.ref, row)[...] = totals[t.name]
        if group.sweeps > 1:
            _rows(group, memory, row, kept, numbers, totals)
        else:
            later.append((row, totals))
    for row, totals in later:
        _rows(group, memory, row, kept, numbers, totals)


def _rows(group, memory, row, kept, numbers, totals):
    index = [0] * len(group.shape)
    for d, i in zip(kept, row, strict=True):
        index[d] = i
    names = {n: _element(memory, r, index) for n, r in group.inputs}
    names |= numbers | totals
    values = [(s, value_of(s.value, names)) for s in group.stores if s.row]
    for s, value in values:
        _place(memory, s.ref, row)[...] = convert(value, s.ref.dtype)


def _place(memory, ref, index):
    at = sum(i * s for i, s in zip(index, ref.strides, strict=True))
    start = ref.offset + at * itemsize(ref.dtype)
    part = memory[ref.buffer][start : start + itemsize(ref.dtype)]
    return part.view(ref.dtype).reshape(())


def _element(memory, ref, index):
    found = _place(memory, ref, index).copy()
    return found.astype("float32") if ref.dtype == "float16" else found


def _level(x, levels):
    if x.op == "var":
        return levels.get(x.value, 0)
    return max([_level(a, levels) for a in x.args], default=0)


def run_fused(items, memory):
    for item in items:
        if isinstance(item, Group):
            run_group(item, memory)
        else:
            run_nodes([item], memory)
