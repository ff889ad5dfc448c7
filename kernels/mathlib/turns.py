"""1 / (2 pi) to 1200 bits, in the pieces that reduce a float64 angle.

An angle x = m 2**(16 k) with 1 <= m < 2**16 is m Y turns, Y = 2**(16 k) / (2 pi).
Multiples of 2**52 in Y are whole turns, since m is a multiple of 2**-52. The rest of
Y, in pieces so short that whole turns can be dropped from each product with m
without an error, is row k of the table; see `_trigonometric`. Plain integers: knows
nothing of expressions.
"""

from __future__ import annotations

_BITS = 1300
#: exponents that share a row
STEP = 16
ROWS = 1024 // STEP
#: lowest bit of each piece but the last, which is rounded
_ENDS = (14, -39, -92)


def _pi() -> int:
    """pi * 2**_BITS, by Machin's formula."""

    def arctan_of_inverse(n: int) -> int:
        term = total = (1 << _BITS + 32) // n
        k, sign = 3, -1
        while term:
            term //= n * n
            total += sign * (term // k)
            k, sign = k + 2, -sign
        return total

    return (16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)) >> 32


def pieces() -> list[float]:
    """The table, row after row."""
    inverse = (1 << 2 * _BITS) // (2 * _pi())  # 2**_BITS / (2 pi)
    table = []
    for row in range(ROWS):
        rest = (inverse << STEP * row) & ((1 << _BITS + 52) - 1)
        for end in _ENDS:
            piece = rest >> (_BITS + end)
            table.append(float(piece) * 2.0**end)
            rest -= piece << (_BITS + end)
        table.append(rest / (1 << _BITS))
    return table
