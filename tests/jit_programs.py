"""Random programs over tensors, run as they are and jitted, and compared.

A program is a list of instructions, four small numbers each; every choice that is left
is made by shapes and dtypes, so that a program means the same wherever it runs. An
instruction that fits no value is skipped. Everything that a caller can see afterwards
is compared: results, which of them share memory, arguments, gradients, versions.
"""

from __future__ import annotations

import numpy as np

import numtensor as nt
import numtensor.nn.functional as F

MOST = 1 << 19


def _floats(*values):
    return all(t.is_floating_point() for t in values)


def _numbers(*values):
    return all(t.dtype is not nt.bool for t in values)


class Machine:
    """The values of one run of a program."""

    def __init__(self, inputs):
        self.values = list(inputs)
        # in a trace, what comes with a history is a leaf
        self.leaves = {id(t._storage) for t in inputs if t.requires_grad}

    def pick(self, k):
        return self.values[-1 - k % len(self.values)]

    def keep(self, *made):
        self.values += made

    def writable(self, t):
        """Whether eager operators would write here: no leaf, no repeated element."""
        if nt.is_grad_enabled() and id(t._storage) in self.leaves:
            return False
        return all(s or n < 2 for n, s in zip(t.shape, t.stride(), strict=True))


def _together(*values):
    try:
        shape = np.broadcast_shapes(*[tuple(v.shape) for v in values])
    except ValueError:
        return None
    return shape if int(np.prod(shape, dtype=np.int64)) <= MOST else None


UNARY = (
    nt.tanh, nt.sin, nt.sigmoid, nt.neg, nt.abs, F.relu, nt.square, F.gelu,
    lambda x: (x.clamp(-3, 3)).exp(), lambda x: (x * x + 1).sqrt(),
    lambda x: x.clamp(-0.5, 0.5), lambda x: x * 2.5 + 1, lambda x: 1 - x / 3,
    F.silu, lambda x: (x.abs() + 1).log(), lambda x: 0.5 * x**3,
)  # fmt: skip
WHOLE = (nt.neg, nt.abs, lambda x: x * 3 - 1, lambda x: x.clamp(-2, 2), nt.square)
BINARY = (
    nt.add, nt.sub, nt.mul, nt.maximum, nt.minimum,
    lambda x, y: x / (y.abs() + 1), lambda x, y: nt.lerp(x, y, 0.3),
    lambda x, y: nt.addcmul(x, y, y, value=0.5),
)  # fmt: skip
COMPARED = (nt.lt, nt.ge, nt.eq, nt.ne)


def unary(m, i, j, k):
    x = m.pick(i)
    if _floats(x):
        m.keep(UNARY[k % len(UNARY)](x))
    elif _numbers(x):
        m.keep(WHOLE[k % len(WHOLE)](x))
    else:
        m.keep(~x)


def binary(m, i, j, k):
    x, y = m.pick(i), m.pick(j)
    if _together(x, y) is None:
        return
    if not _numbers(x, y):
        m.keep((nt.logical_and, nt.logical_or, nt.logical_xor)[k % 3](x, y))
    elif _floats(x, y) and x.dtype is y.dtype:
        m.keep(BINARY[k % len(BINARY)](x, y))
    else:
        m.keep(BINARY[k % 5](x, y))


def compare(m, i, j, k):
    x, y = m.pick(i), m.pick(j)
    if k % 2:
        m.keep(x > 0.3)
    elif _together(x, y) is not None:
        m.keep(COMPARED[k % 4](x, y))


def where(m, i, j, k):
    x, y, c = m.pick(i), m.pick(j), m.pick(k)
    if _together(x, y, c) is not None:
        m.keep(nt.where(c if c.dtype is nt.bool else c > 0.1, x, y))


def reduce(m, i, j, k):
    x = m.pick(i)
    keepdim = bool(k % 2)
    name = ("sum", "mean", "amax", "var", "logsumexp", "prod", "amin", "argmax")[
        k // 2 % 8
    ]
    if name in ("mean", "var", "logsumexp", "prod") and not _floats(x):
        name = "sum"
    if x.dtype is nt.bool and name != "sum":
        name = "any"
    dims = [None, *range(x.dim())]
    dim = dims[j % len(dims)]
    if name in ("amax", "amin", "argmax") and 0 in (
        tuple(x.shape) if dim is None else (x.shape[dim],)
    ):
        return
    if name == "prod":
        x = x.tanh()
    if dim is None:
        if name == "logsumexp":
            m.keep(nt.logsumexp(x, tuple(range(x.dim())), keepdim))
        else:
            m.keep(getattr(x, name)())
    elif j // len(dims) % 2 and x.dim() > 1 and name in ("sum", "mean", "amax"):
        if 0 not in x.shape:
            m.keep(getattr(x, name)(dim=(0, x.dim() - 1), keepdim=keepdim))
    else:
        m.keep(getattr(x, name)(dim=dim, keepdim=keepdim))


def view(m, i, j, k):
    x = m.pick(i)
    n = x.dim()
    if k == 0:
        m.keep(x.reshape(-1))
    elif k == 1:
        m.keep(x.unsqueeze(j % (n + 1)))
    elif k == 2 and n < 3 and x.numel() < 4096:
        m.keep(x.expand(2, *x.shape))
    elif k == 3 and n > 1:
        m.keep(x.transpose(0, 1 + j % (n - 1)))
    elif k == 4 and n:
        m.keep(x[1:] if j % 2 else x[..., ::2])
    elif k == 5 and n and x.shape[j % n]:
        m.keep(x.select(j % n, -1))
    elif k == 6 and n > 1:
        m.keep(x.diagonal())
    elif k == 7 and n and x.shape[0] % 2 == 0 and x.shape[0]:
        m.keep(x.reshape(2, x.shape[0] // 2, *x.shape[1:]))
    elif k == 8:
        m.keep(x.squeeze())
    elif k == 9 and n:
        m.keep(x.narrow(0, 0, x.shape[0] // 2))
    elif k == 10 and n:
        m.keep(*x.chunk(2, j % n))
    elif k == 11:
        m.keep(x.detach())


def write(m, i, j, k):
    x, y = m.pick(i), m.pick(j)
    if not m.writable(x):
        return
    if k % 8 == 0 and x.dim() and x.shape[0]:
        x[0] = 0.5 if _floats(x) else 1
        return
    if k % 8 == 1:
        x.fill_(2)
        return
    if k % 8 == 2 and _floats(x):
        (x.tanh_, x.mul_)[j % 2](*(() if j % 2 == 0 else (0.5,)))
        return
    if k % 8 == 3:
        x.zero_()
        return
    shape = _together(x, y)
    if shape is None or shape != tuple(x.shape) or not _numbers(x):
        return
    if not _floats(x) and _floats(y):
        return
    if k % 8 == 4:
        x.copy_(y)
    elif k % 8 == 5 and x.dim() and x.shape[0] and y.dim() < x.dim():
        x[-1] = y
    elif k % 2:
        x.add_(y)
    else:
        x.sub_(y)


def quiet_write(m, i, j, k):
    with nt.no_grad():
        write(m, i, j, k)


def index(m, i, j, k):
    x, y = m.pick(i), m.pick(j)
    if not x.dim() or not x.shape[0]:
        return
    if y.dtype is nt.int64 and y.dim() == 1:
        places = y.remainder(x.shape[0])
    else:
        places = nt.arange(k + 1) % x.shape[0]
    if k % 3 == 0:
        m.keep(x[places])
    elif k % 3 == 1:
        m.keep(x.index_select(0, places))
    elif m.writable(x) and _numbers(x):
        x.index_add_(0, places, x[places].clone())


def matmul(m, i, j, k):
    x, y = m.pick(i), m.pick(j)
    if not _floats(x, y) or x.dtype is not y.dtype:
        return
    if x.dim() == 2 and y.dim() == 2:
        if x.shape[1] == y.shape[0]:
            found = x @ y
        elif x.shape[1] == y.shape[1]:
            found = x @ y.t()
        elif x.shape[0] == y.shape[0]:
            found = x.t() @ y
        else:
            return
    elif (
        x.dim() > 1
        and y.dim() == 1
        and x.shape[-1] == y.shape[0]
        or x.dim() == 3
        and y.dim() == 2
        and x.shape[2] == y.shape[0]
    ):
        found = x @ y
    else:
        return
    m.keep(found * 0.1)


def copy(m, i, j, k):
    x = m.pick(i)
    m.keep((x.clone, x.contiguous)[k % 2]())


def cast(m, i, j, k):
    x = m.pick(i)
    if k % 5 == 3 and not _floats(x):
        m.keep(x.to(nt.int64))
    elif k % 5 == 4:
        m.keep(x.to(nt.bool))
    else:
        m.keep(x.to((nt.float32, nt.float64)[k % 2]))


def rows(m, i, j, k):
    x = m.pick(i)
    if not _floats(x) or not x.dim() or 0 in x.shape:
        return
    dim = j % x.dim()
    if k % 4 == 0:
        m.keep(F.softmax(x, dim))
    elif k % 4 == 1:
        m.keep(F.log_softmax(x, dim))
    elif k % 4 == 2:
        m.keep(F.layer_norm(x, tuple(x.shape[-1:])))
    else:
        m.keep(x - x.mean(dim, keepdim=True))


def random(m, i, j, k):
    x = m.pick(i)
    if k % 3 == 0:
        m.keep(nt.rand(tuple(x.shape), dtype=nt.float64))
    elif k % 3 == 1:
        m.keep(nt.randn(tuple(x.shape)))
    elif _floats(x):
        m.keep(F.dropout(x, 0.4))


def join(m, i, j, k):
    x, y = m.pick(i), m.pick(j)
    if x.shape == y.shape and x.dtype is y.dtype and x.numel() < MOST // 2:
        m.keep(nt.stack([x, y]) if k % 2 or not x.dim() else nt.cat([x, y]))


def scan(m, i, j, k):
    x = m.pick(i)
    if x.dim() and _floats(x):
        m.keep(x.cumsum(j % x.dim()) if k % 2 else x.flip(0))


STEPS = (
    unary, binary, view, reduce, write, rows, matmul, where, compare, cast, index, copy,
    binary, unary, quiet_write, random, join, scan, view, binary,
)  # fmt: skip


def perform(program, inputs):
    """Run the instructions; return the last values, those that are equal ones too."""
    m = Machine(inputs)
    for step, i, j, k in program:
        STEPS[step % len(STEPS)](m, i, j, k)
    return m.values[-3:]


def weighted(results):
    """Return a number that depends on all results with a history."""
    total = None
    for n, t in enumerate(results):
        if t.requires_grad:
            part = (t * (0.5 + n)).sum().double()
            total = part if total is None else total + part
    return total


def backward_inside(program, inputs):
    found = perform(program, inputs)
    total = weighted(found)
    if total is None:
        return found
    total.backward()
    return [t.detach() for t in found]


# What can be seen


def array(t):
    return np.array(t.detach().numpy())


def seen(inputs, results):
    """Return everything that two runs must have in common, as (values, facts)."""
    values = [array(t) for t in (*inputs, *results)]
    values += [array(t.grad) for t in inputs if t.grad is not None]
    held = {f"input {n}": t for n, t in enumerate(inputs)}
    held |= {f"result {n}": t for n, t in enumerate(results)}
    facts = {}
    before = []
    for name, t in held.items():
        steps = [s for n, s in zip(t.shape, t.stride(), strict=True) if n > 1]
        facts[name] = tuple(t.shape), steps, t.dtype, t.requires_grad, t.is_leaf
        for other, o in before:
            gap = t.data_ptr() - o.data_ptr() if t._storage is o._storage else None
            facts[f"{name} is {other}"] = t is o, gap
        before.append((name, t))
    for n, t in enumerate(inputs):
        facts[f"grad {n}"] = None if t.grad is None else (t.grad.shape, t.grad.dtype)
    return values, facts
