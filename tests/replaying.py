"""Traces run node by node, each by the eager kernel that it was recorded for.

The oracle of traces, which knows nothing of fusion: a buffer is an array of bytes, and
a node a launch on the CPU at addresses in them.
"""

from __future__ import annotations

import contextlib

import numpy as np

from numtensor import devices, launch, tracing
from numtensor.jit import ir


@contextlib.contextmanager
def tracing_of(*tensors):
    """Trace what is done inside, `tensors` being captured; yields the trace."""
    trace = tracing.Trace(devices.CPU)
    devices.active[0] += 1
    try:
        trace.capture_all(list(tensors))
        devices.tracing.trace = trace
        yield trace
    finally:
        devices.tracing.trace = None
        devices.active[0] -= 1
        trace.release()


class Machine:
    """Runs the nodes of a trace. `memory` leads from buffers to arrays of bytes."""

    def __init__(self, trace):
        self.trace = trace
        trace.finish(trace.nodes, set())
        self.memory = {}
        for held in trace.captured:
            if held.buffer in self.memory:
                continue
            found = (np.empty(held.buffer.nbytes, np.uint8),)
            nt_bytes = (np.ctypeslib.ctypes.c_uint8 * held.buffer.nbytes).from_address(
                held.pointer - held.offset
            )
            found[0][:] = nt_bytes
            self.memory[held.buffer] = found[0]

    def at(self, buffer):
        """Return the address of a buffer, made when it is first asked for."""
        found = self.memory.get(buffer)
        if found is None:
            # what nobody writes is not to be relied on
            found = np.full(buffer.nbytes + 64, 0xCC, np.uint8)
            found = found[-found.ctypes.data % 64 :][: buffer.nbytes]
            if buffer.source == "constant":
                data = buffer.data
                raw = (np.ctypeslib.ctypes.c_uint8 * buffer.nbytes).from_address(
                    data._pointer
                )
                found[:] = raw
            else:
                assert buffer.source == "temporary", buffer
            self.memory[buffer] = found
        return found.ctypes.data

    def pointer(self, ref):
        assert 0 <= ref.offset <= ref.buffer.nbytes
        return self.at(ref.buffer) + ref.offset

    def view(self, ref, shape):
        """Return the elements that a ref and a shape walk as an array."""
        self.at(ref.buffer)
        size = np.dtype(ref.dtype).itemsize
        raw = self.memory[ref.buffer][ref.offset :]
        raw = raw[: raw.size // size * size].view(ref.dtype)
        return np.lib.stride_tricks.as_strided(
            raw, shape, [s * size for s in ref.strides]
        )

    def run(self):
        for node in self.trace.nodes:
            for ref, shape in (*node.reads, *node.writes):
                low, high = ref.bytes_of(shape)
                assert low >= 0, node
                assert high <= ref.buffer.nbytes or 0 in shape, node
            getattr(self, type(node).__name__.lower())(node)

    def loop(self, node):
        call = launch.elementwise(
            node.shape,
            [(r.dtype, r.strides) for r in node.outputs],
            [launch.Input(n, r.dtype, r.strides) for n, r in node.inputs],
            node.body,
        )
        pointers = [self.pointer(r) for r in node.outputs]
        pointers += [self.pointer(r) for _, r in node.inputs]
        call.run(call.kernel, call.n, *pointers, call.table, *node.numbers)

    def reduce(self, node):
        steps = launch.reduction(
            node.shape,
            node.dims,
            node.reduced,
            [(r.dtype, r.strides) for r in node.stores],
            [launch.Input(n, r.dtype, r.strides) for n, r in node.inputs],
            node.body,
        )
        refs = [*node.stores, *node.results, *[r for _, r in node.inputs]]
        steps.run([self.pointer(r) for r in refs], node.numbers)

    def matmul(self, node):
        n, m, k = node.sizes
        a = self.view(node.a, (*node.batch, n, k))
        b = self.view(node.b, (*node.batch, k, m))
        self.view(node.out, (*node.batch, n, m))[...] = a @ b

    def opaque(self, node):
        call = node.plan(devices.CPU)
        pointers = [self.pointer(r) for r in node.refs]
        before = {
            k: self.memory[node.refs[k].buffer].copy() for k in range(len(pointers))
        }
        if hasattr(call, "launches"):
            call.run(pointers, node.numbers)
        else:
            call.run(call.kernel, call.n, *pointers, call.table, *node.numbers)
        written = {node.refs[k].buffer for k in node.written}
        for k, ref in enumerate(node.refs):
            if ref.buffer not in written:
                assert np.array_equal(before[k], self.memory[ref.buffer]), node

    def random(self, node):
        seed, offset = node.generator._reserve(node.counters)
        plan = node.plan
        plan.serial(
            plan.code, node.counters, self.pointer(node.ref), seed, offset, node.n,
            *plan.slots,
        )  # fmt: skip

    def value(self, described):
        """Return what a traced tensor holds, as an array."""
        buffer, offset, kind, shape, strides = described
        ref = ir.Ref(buffer, offset, kind, strides)
        return np.array(self.view(ref, shape))


def described(trace, tensor):
    """Return where a traced tensor's elements are, before the trace is released."""
    found = tensor._spec
    assert tracing.is_traced(found.device), f"a result on {found.device!r}"
    buffer, offset = trace.place(tensor._pointer, "test")
    return buffer, offset, found.dtype.numpy, tuple(found.shape), found.strides


def replayed(function, *tensors):
    """Trace a function of tensors that returns tensors; return what replay gives.

    Also returns what became of `tensors` themselves.
    """
    with tracing_of(*tensors) as trace:
        found = [described(trace, t) for t in function()]
        own = [described(trace, t) for t in tensors]
    machine = Machine(trace)
    machine.run()
    return [machine.value(d) for d in found], [machine.value(d) for d in own], trace
