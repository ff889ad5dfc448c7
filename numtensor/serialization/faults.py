"""The exceptions of files, each also of the class that PyTorch's users catch."""

from __future__ import annotations

import pickle

from .. import dtypes
from ..errors import DTypeError, NumtensorError, message


class FileError(NumtensorError, RuntimeError):
    """A file that is damaged, is not what it says it is, or asks for too much."""


class UnpicklingError(FileError, pickle.UnpicklingError):
    """A pickle that is damaged, or would make something else than data."""


class PicklingError(NumtensorError, pickle.PicklingError, TypeError):
    """An object that files do not hold; `places` are the keys that lead to it, from
    the innermost out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.places: list[object] = []


class MmapError(FileError, ValueError):
    """A file that cannot be mapped into memory."""


class FolderError(NumtensorError, FileNotFoundError, RuntimeError):
    """A path whose folder does not exist."""


def brief(value: object) -> str:
    """Return a few words for something from a file.

    Its repr could take for ever: a tuple can hold another twice, and so on.
    """
    if isinstance(value, tuple):
        parts = ", ".join(_brief(part) for part in value[:6])
        return f"({parts}, ...)" if len(value) > 6 else f"({parts})"
    return _brief(value)


def _brief(value: object) -> str:
    if isinstance(value, (str, bytes)):
        return repr(value[:80])
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def damaged(label: str, got: str, expected: str, do: str = "") -> FileError:
    """Return the error of a file `label` in which something is wrong."""
    do = do or "The file is truncated, damaged or was made to harm: get it again."
    return FileError(message("load", f"{got} in {label}", expected, do))


def no_such_dtype(kind: object, label: str, do: str) -> DTypeError:
    """Return the error of elements that tensors do not have, in a file `label`."""
    known = ", ".join(found.name for found in dtypes.ALL)
    return DTypeError(
        message("load", f"elements of dtype {kind} in {label}", f"one of {known}", do)
    )
