"""The operators, one file per family; each is declared once.

`declare` turns a declaration into a function, a Tensor method, operator symbols, an
in-place form, a row of the operator table and a set of test cases. `m` is the
vocabulary of the expressions. Importing a family declares it; this list is all of them.
"""

from . import (
    activations,
    arithmetic,
    comparison,
    contraction,
    copies,
    exponential,
    grids,
    items,
    joining,
    linear,
    norms,
    pieces,
    rearranging,
    reductions,
    selection,
    sorting,
    special,
    stacking,
    views,
)
