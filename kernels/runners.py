"""How Python calls a kernel: three small functions that know no dtype.

`serial` and `serial_float` have the C signature of a Python function that takes its
arguments as an array (METH_FASTCALL), so a call costs no tuple and no dispatcher:
`serial(kernel, n, *slots)` copies the slots to the stack and runs the kernel on
[0, n). `worker` is what each of Numba's threads does for a large kernel.

Source for `compiler`, which compiles these once and keeps the machine code on disk.
"""

from numtensor.kernels.lang import (
    call_kernel,
    double_bits,
    fetch_add,
    new_reference,
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


def worker(args, dims, steps, data):
    """Run a kernel on chunks of [0, n), beside other workers.

    The signature is that of a kernel of a generalised ufunc, which is what Numba's
    threads call. `data` holds counter, kernel, n, chunk, number of workers and then
    the kernel's slots; `steps` is the same address as an int.
    """
    kernel, n, chunk = data[1], data[2], data[3]
    # each worker takes the next chunk when it is done with one: a thread that the
    # system has put aside holds up one chunk, not its whole share
    lo = fetch_add(steps, chunk)
    while lo < n:
        call_kernel(kernel, steps + 40, lo, min(n, lo + chunk))
        lo = fetch_add(steps, chunk)
