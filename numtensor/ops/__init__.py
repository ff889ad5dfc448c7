"""The operators, one file per family; each is declared once.

`declare` turns a declaration into a function, a Tensor method, operator symbols, an
in-place form, a row of the operator table and a set of test cases. `m` is the
vocabulary of the expressions. Importing a family declares it; this list is all of them.
"""

from . import (
    activations,
    advanced,
    arithmetic,
    comparison,
    contraction,
    copies,
    counting,
    diagonals,
    differences,
    exponential,
    gathering,
    grids,
    in_place_views,
    items,
    joining,
    linear,
    masking,
    multinomial,
    naming,
    norms,
    pieces,
    rearranging,
    reductions,
    scans,
    scattering,
    searching,
    selection,
    softmax,
    sorting,
    special,
    stacking,
    statistics,
    unique,
    views,
)

# isort: split
from . import forms  # other names of what is declared above
