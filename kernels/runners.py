"""How Python calls a kernel: three small functions that know no dtype.

`serial` and `serial_float` have the C signature of a Python function that takes its
arguments as an array (METH_FASTCALL), so a call costs no tuple and no dispatcher:
`serial(kernel, n, *slots)` copies the slots to the stack and runs the kernel on
[0, n). `threaded` gives chunks of [0, n) to Numba's threads.

Source for `compiler`, which compiles these once and keeps the machine code on disk.
"""

from numba import prange

from numtensor.kernels.lang import (
    call_kernel,
    double_bits,
    fetch_add,
    new_reference,
    parallel,
    py_as_float64,
    py_as_int64,
    py_error,
    stack_slots,
)


def serial(none, args, count):
    """serial(kernel, n, *slots): every slot an int."""
    slots = stack_slots(0)
    for k in range(2, count):
        value = py_as_int64(args[k])
        if value == -1 and py_error() != 0:
            return 0
        slots[k - 2] = value
    call_kernel(py_as_int64(args[0]), slots, 0, py_as_int64(args[1]))
    return new_reference(none)


def serial_float(none, args, count):
    """serial_float(kernel, n, *slots, x): the last slot is a number, a float64."""
    slots = stack_slots(0)
    last = count - 1
    for k in range(2, last):
        value = py_as_int64(args[k])
        if value == -1 and py_error() != 0:
            return 0
        slots[k - 2] = value
    number = py_as_float64(args[last])
    if number == -1.0 and py_error() != 0:
        return 0
    slots[last - 2] = double_bits(number)
    call_kernel(py_as_int64(args[0]), slots, 0, py_as_int64(args[1]))
    return new_reference(none)


@parallel
def _spread(kernel, slots, n, chunk, counter, threads):
    for _ in prange(threads):
        # each thread takes the next chunk when it is done with one: a thread that the
        # system has put aside holds up one chunk, not its whole share
        lo = fetch_add(counter, chunk)
        while lo < n:
            call_kernel(kernel, slots, lo, min(n, lo + chunk))
            lo = fetch_add(counter, chunk)


def threaded(kernel, slots, n, chunk, counter, threads):
    """Run `kernel` on chunks of [0, n).

    `slots` is the address of its arguments, `counter` that of an int64 holding 0.
    """
    _spread(kernel, slots, n, chunk, counter, threads)
