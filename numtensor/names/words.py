"""Names of dimensions by themselves: what is one, and how two tensors' names meet.

In come tuples with a string or None for each dim, out come such tuples or errors. This
room knows no tensor and no operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import DimNameError, message

Names = tuple[str | None, ...]


def text(names: Sequence[Any]) -> str:
    """Return names as messages show them.

    >>> text(("N", None))
    "['N', None]"
    """
    return str(list(names))


def is_ellipsis(name: Any) -> bool:
    return name is Ellipsis or (isinstance(name, str) and name == "...")


def checked(op: str, names: Any, ndim: int) -> Names | None:
    """Return names that a tensor of `ndim` dims may have; None if none is named.

    Raises: DimNameError, another number of names than dims, a name twice, or a string
    that is no identifier.

    >>> checked("rename", ["N", None], 2)
    ('N', None)
    """
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise DimNameError(
            message(op, f"names {names!r}", "a tuple or list of names, or None")
        )
    found = tuple(names)
    if len(found) != ndim:
        raise DimNameError(
            message(
                op,
                f"{len(found)} names for a tensor of {ndim} dims",
                "a name, or None, for each dim",
                f"Number of names ({len(found)}) and number of dimensions in tensor "
                f"({ndim}) do not match.",
            )
        )
    for name in found:
        if name is not None:
            check_name(op, name)
    distinct(op, found)
    return found if any(name is not None for name in found) else None


def check_name(op: str, name: Any) -> None:
    """Refuse what cannot be the name of a dim. Raises: DimNameError."""
    if not isinstance(name, str) or not name.isidentifier():
        raise DimNameError(
            message(
                op,
                f"the name {name!r}",
                "a string that is an identifier, or None",
                "Invalid name: a valid identifier contains only letters, digits and "
                "underscores, and does not start with a digit.",
            )
        )


def distinct(op: str, names: Names, do: str = "") -> None:
    """Refuse names of which one appears twice. Raises: DimNameError."""
    for k, name in enumerate(names):
        if name is not None and name in names[:k]:
            raise DimNameError(
                message(
                    op,
                    f"names {text(names)}",
                    "each name once",
                    do
                    or "Cannot construct a tensor with duplicate names. Got names: "
                    f"{text(names)}.",
                )
            )


def position(op: str, name: str, names: Names) -> int:
    """Return which dim has this name.

    Raises: DimNameError, none has.
    """
    if name in names:
        return names.index(name)
    hint = "Name the dims first, with refine_names or rename."
    if any(n is not None for n in names):
        hint = "Check the name, or rename the dims."
    raise DimNameError(
        message(
            op,
            f"dim {name!r} of Tensor{text(names)}",
            "a name of the tensor",
            f"Name {name!r} not found in Tensor{text(names)}. {hint}",
        )
    )


_ADVICE = (
    "Broadcasting goes by position from the right: bring the dims in line with "
    "align_to or align_as, name unnamed ones with refine_names, or change names with "
    "rename."
)


def unified(op: str, names: Names, other: Names, action: str = "broadcast") -> Names:
    """Return the names of what two tensors broadcast to, dims compared from the right.

    None meets any name. Raises: DimNameError, two names at one place; a name that the
    other tensor has at another place.

    >>> unified("add", ("N", None), (None, "C"))
    ('N', 'C')
    """
    if names == other:
        return names
    size = max(len(names), len(other))
    left = (None,) * (size - len(names)) + names
    right = (None,) * (size - len(other)) + other
    result: list[str | None] = []
    for a, b in zip(left, right, strict=True):
        if a is not None and b is not None and a != b:
            raise clash(
                op, names, other,
                f"Error when attempting to {action} dims {text(names)} and dims "
                f"{text(other)}: dim {a!r} and dim {b!r} are at the same position from "
                "the right but do not match.",
            )  # fmt: skip
        result.append(b if a is None else a)
    for d in range(size):
        if left[d] == right[d]:
            continue
        name = left[d] if right[d] is None else right[d]
        if name in (right if right[d] is None else left):
            raise clash(
                op, names, other,
                f"Misaligned dims when attempting to {action} dims {text(names)} and "
                f"dims {text(other)}: dim {name!r} appears in a different position "
                "from the right across both lists.",
            )  # fmt: skip
    return tuple(result)


def clash(op: str, names: Names, other: Names, fault: str) -> DimNameError:
    """Return the error of two tensors whose names do not meet."""
    return DimNameError(
        message(
            op,
            f"dims {text(names)} and dims {text(other)}",
            "equal names, or None, at each place from the right",
            f"{fault} {_ADVICE}",
        )
    )


def globbed(op: str, names: Sequence[Any], own: Names) -> tuple[Any, ...]:
    """Replace `...` among `names` by what the tensor has at that place.

    Raises: DimNameError, more than one `...`, or no room for it.
    """
    at = [k for k, name in enumerate(names) if is_ellipsis(name)]
    if not at:
        return tuple(names)
    rest = len(names) - 1
    if len(at) > 1 or rest > len(own):
        raise DimNameError(
            message(
                op,
                f"names {text(names)} for Tensor{text(own)}",
                "one '...' and no more names than dims",
                f"{op}: More than one Ellipsis ('...') found in names."
                if len(at) > 1
                else "",
            )
        )
    k = at[0]
    return (*names[:k], *own[k : len(own) - (rest - k)], *names[k + 1 :])


def refined(names: Sequence[Any], own: Names) -> Names:
    """Return `own` with names for dims that had none.

    Raises: DimNameError, a dim whose name would change.
    """
    wanted = globbed("refine_names", names, own)
    if len(wanted) == len(own):
        for k, (new, old) in enumerate(zip(wanted, own, strict=True)):
            if old is not None and new != old:
                raise DimNameError(
                    message(
                        "refine_names",
                        f"{text(wanted)} for Tensor{text(own)}",
                        "names that dims have already, or new names for unnamed dims",
                        f"refine_names: cannot coerce Tensor{text(own)} to "
                        f"Tensor{text(wanted)} because {old!r} is different from "
                        f"{new!r} at index {k}. Use rename to change a name.",
                    )
                )
    return tuple(wanted)


def mapped(op: str, changes: dict[str, Any], own: Names) -> Names:
    """Return `own` with some names exchanged for others.

    Raises: DimNameError, a name that the tensor does not have.
    """
    for old, new in changes.items():
        if old not in own:
            raise DimNameError(
                message(
                    op,
                    f"{old}={new!r} for Tensor{text(own)}",
                    "names that the tensor has",
                    f"{op}: Tried to rename dim {old!r} to dim {new!r} in "
                    f"Tensor{text(own)} but dim {old!r} does not exist.",
                )
            )
    return tuple(changes.get(n, n) if n is not None else None for n in own)
