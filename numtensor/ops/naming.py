"""Naming dims, and bringing tensors into line by their names.

The methods that read and give names. How operators treat names is in `names`.
"""

from __future__ import annotations

from typing import Any

from ..errors import DimNameError, message
from ..names import bare, named, renamed, words
from ..tensor import Tensor
from .declare import attach


def _wanted(
    op: str, x: Tensor, names: tuple[Any, ...], changes: dict[str, Any]
) -> words.Names | None:
    if names and changes:
        raise DimNameError(
            message(
                op,
                "names by position and by keyword",
                "one or the other",
                f"{op}: This function takes either positional args or keyword args, "
                f"but not both. Use tensor.{op}(*names) to name dims and "
                f"tensor.{op}(**rename_map) to rename dims.",
            )
        )
    if changes:
        return words.checked(op, words.mapped(op, changes, x.names), x.ndim)
    if len(names) == 1 and names[0] is None:
        return None
    return words.checked(op, words.globbed(op, names, x.names), x.ndim)


def rename(self: Tensor, *names: str | None, **rename_map: str | None) -> Tensor:
    """Return a view with other names of dims.

    `rename("N", "C")` names all dims, "..." standing for those that keep theirs;
    `rename(N="batch")` changes some; `rename(None)` drops all.
    Raises: DimNameError.

    >>> import numtensor as nt
    >>> x = nt.zeros(2, 3, names=("N", "C"))
    >>> x.rename(C="channels").names
    ('N', 'channels')
    >>> x.rename(None).names
    (None, None)
    """
    return renamed(self, _wanted("rename", self, names, rename_map))


def rename_(self: Tensor, *names: str | None, **rename_map: str | None) -> Tensor:
    """In-place form of `rename`."""
    return named(self, _wanted("rename_", self, names, rename_map))


def refine_names(self: Tensor, *names: Any) -> Tensor:
    """Return a view in which dims without a name have one.

    Dims that have a name must be given the same again, or be covered by "...".
    Raises: DimNameError.

    >>> import numtensor as nt
    >>> nt.zeros(3, 5, 5).refine_names(..., "rows", "columns").names
    (None, 'rows', 'columns')
    """
    wanted = words.refined(names, self.names)
    return renamed(self, words.checked("refine_names", wanted, self.ndim))


def align_to(self: Tensor, *names: Any) -> Tensor:
    """Return a view with the dims in the order of `names`.

    Names that the tensor does not have become dims of size 1. "..." stands for all dims
    that are not listed, in their order; without it each dim must be named and listed.
    Raises: DimNameError.

    >>> import numtensor as nt
    >>> x = nt.zeros(2, 3, names=("rows", "columns"))
    >>> x.align_to("columns", "batch", "rows").shape
    torch.Size([3, 1, 2])
    >>> x.align_to("columns", ...).names
    ('columns', 'rows')
    """
    own = self.names
    listed = [n for n in names if not words.is_ellipsis(n)]
    for name in listed:
        words.check_name("align_to", name)
    words.distinct("align_to", tuple(listed))
    if len(names) - len(listed) > 1:
        words.globbed("align_to", names, own)
    # dims as integers, new ones as names
    order: list[Any] = []
    for name in names:
        if words.is_ellipsis(name):
            order += [d for d, n in enumerate(own) if n is None or n not in listed]
        else:
            order.append(own.index(name) if name in own else name)
    for d, name in enumerate(own):
        if d not in order:
            unnamed = f"All input dims must be named. Found unnamed dim at index {d}."
            lost = (
                f"Cannot find dim {name!r} from Tensor{words.text(own)} in desired "
                f"alignment Tensor{words.text(names)}."
            )
            raise DimNameError(
                message(
                    "align_to",
                    f"names {words.text(names)} for Tensor{words.text(own)}",
                    "every dim of the tensor, or '...' for those not listed",
                    f"align_to: {unnamed if name is None else lost}",
                )
            )
    result = bare(self).permute(tuple(d for d in order if isinstance(d, int)))
    for k, d in enumerate(order):
        if isinstance(d, str):
            result = result.unsqueeze(k)
    return named(result, tuple(own[d] if isinstance(d, int) else d for d in order))


def align_as(self: Tensor, other: Tensor) -> Tensor:
    """Return `self.align_to(*other.names)`: ready to be broadcast by name.

    >>> import numtensor as nt
    >>> image = nt.ones(3, 2, 2, names=("channels", "rows", "columns"))
    >>> weights = nt.tensor([0.2, 0.7, 0.1], names=("channels",))
    >>> (image * weights.align_as(image)).sum("channels").names
    ('rows', 'columns')
    """
    return align_to(self, *other.names)


def align_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return views of all tensors with the dims of the one that has most.

    Raises: DimNameError, a dim that this one does not have.

    >>> import numtensor as nt
    >>> a = nt.ones(2, 3, names=("N", "C"))
    >>> b = nt.ones(3, names=("C",))
    >>> [x.shape for x in nt.align_tensors(a, b)]
    [torch.Size([2, 3]), torch.Size([1, 3])]
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    longest = max(tensors, key=lambda x: x.ndim)
    return tuple(align_to(x, *longest.names) for x in tensors)


for _method in (rename, rename_, refine_names, align_to, align_as):
    attach(_method.__name__, _method, "own")
