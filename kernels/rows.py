"""How Python calls one kernel many times: the updates of an optimiser.

Both have the C signature of a Python function that takes its arguments as an array,
as those of `runners`. Source for `compiler`, which compiles them once and keeps the
machine code on disk.
"""

from numtensor.kernels.lang import (
    call_kernel,
    double_bits,
    new_reference,
    pointer,
    py_as_float64,
    py_as_int64,
    py_error,
    stack_slots,
)

header_at = pointer("int64", 0)
float32_at = pointer("float32", 0)
float64_at = pointer("float64", 0)


def rows(none, args, count):
    """rows(written, tensors, scalars, *numbers, *(header, *addresses) of every row).

    A row is a call of a kernel that reads all of its tensors and writes the first
    `written` of them. Its header is the address of: the kernel, its n, its layout
    table, whether the tensors have one layout, and the bytes that each spans. Where a
    tensor overlaps one that is written, other than the last of them all element for
    element, no kernel is called, and the row's header is returned instead of None.
    """
    slots = stack_slots(0)
    written = py_as_int64(args[0])
    tensors = py_as_int64(args[1])
    scalars = py_as_int64(args[2])
    first = 3 + scalars
    row = first
    while row < count:
        slots[0] = py_as_int64(args[row])
        header = header_at(slots)
        for j in range(1, tensors):
            b = py_as_int64(args[row + 1 + j])
            for k in range(min(j, written)):
                a = py_as_int64(args[row + 1 + k])
                same = a == b and j >= written and header[3] != 0
                apart = a >= b + header[4 + j] or b >= a + header[4 + k]
                if not (same or apart):
                    return new_reference(args[row])
        row += 1 + tensors
    numbers = written + tensors + 1
    row = first
    while row < count:
        slots[0] = py_as_int64(args[row])
        header = header_at(slots)
        kernel = header[0]
        n = header[1]
        slots[written + tensors] = header[2]
        for k in range(tensors):
            slots[written + k] = py_as_int64(args[row + 1 + k])
        for k in range(written):
            slots[k] = slots[written + k]
        for k in range(scalars):
            number = py_as_float64(args[3 + k])
            if number == -1.0 and py_error() != 0:
                return 0
            slots[numbers + k] = double_bits(number)
        call_kernel(kernel, slots, 0, n)
        row += 1 + tensors
    return new_reference(none)


def count_up(none, args, count):
    """count_up(result, *counters): add 1 to every float32 counter, if all are equal.

    Two float64 at the address `result` tell the new count, and whether they were equal;
    if not, nothing has changed.
    """
    slots = stack_slots(0)
    slots[0] = py_as_int64(args[0])
    result = float64_at(slots)
    result[1] = 0.0
    slots[0] = py_as_int64(args[1])
    value = float32_at(slots)[0]
    for k in range(2, count):
        slots[0] = py_as_int64(args[k])
        if float32_at(slots)[0] != value:
            return new_reference(none)
    value += 1
    for k in range(1, count):
        slots[0] = py_as_int64(args[k])
        float32_at(slots)[0] = value
    result[0] = value
    result[1] = 1.0
    return new_reference(none)
