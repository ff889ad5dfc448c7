"""How Python calls a whole program: many kernels, one after another, in one call.

It has the C signature of a Python function that takes its arguments as an array, as
those of `runners`, and is called with the interpreter lock held: the program's table,
into which it writes the addresses of this call, is nobody else's meanwhile. Source for
`compiler`, which compiles it once and keeps the machine code on disk.
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

table_at = pointer("int64", 0)


def sequence(none, args, count):
    """sequence(table, times, *values): run the steps of a table, `times` times.

    The table holds int64: how many values it needs, how many of them (the first) are
    memory to be guarded, how many places are to be filled, how many steps there are;
    for each value what it is (0: not needed, 1: an integer, 2: a float), and room for
    it; for each guarded value how many bytes it has, whether it is written, and what
    it was in the last call; for each place where in the table it is, which value goes
    there, and a number to be added to it; for each step its kernel, its n, and where in
    the table its slots begin.

    Where guarded memory that is written overlaps other guarded memory, nothing runs,
    and the table's address is returned instead of None.
    """
    slots = stack_slots(0)
    address = py_as_int64(args[0])
    slots[0] = address
    table = table_at(slots)
    times = py_as_int64(args[1])
    needed = table[0]
    if count < 2 + needed:
        return 0
    guarded = table[1]
    guards = 4 + 2 * needed
    places = guards + 3 * guarded
    steps = places + 3 * table[2]
    for k in range(needed):
        kind = table[4 + 2 * k]
        if kind == 1:
            table[5 + 2 * k] = py_as_int64(args[2 + k])
        elif kind == 2:
            table[5 + 2 * k] = double_bits(py_as_float64(args[2 + k]))
    if py_error() != 0:
        return 0
    for k in range(guarded):
        guard = guards + 3 * k
        now = table[5 + 2 * k]
        if now != table[guard + 2]:
            end = now + table[guard]
            for other in range(guarded):
                place = guards + 3 * other
                start = table[5 + 2 * other]
                stop = start + table[place]
                written = table[guard + 1] + table[place + 1] != 0
                # nothing overlaps what has no bytes
                apart = now >= stop or start >= end or now >= end or start >= stop
                if other != k and written and not apart:
                    for j in range(guarded):
                        table[guards + 3 * j + 2] = -1
                    return new_reference(args[0])
    for k in range(guarded):
        table[guards + 3 * k + 2] = table[5 + 2 * k]
    for k in range(table[2]):
        place = places + 3 * k
        value = table[5 + 2 * table[place + 1]]
        table[table[place]] = value + table[place + 2]
    for _ in range(times):
        for k in range(table[3]):
            entry = steps + 3 * k
            first = address + 8 * table[entry + 2]
            call_kernel(table[entry], first, 0, table[entry + 1])
    return new_reference(none)
