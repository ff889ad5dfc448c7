"""Parameters in a list and by name; other values may stand among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import message
from ...tensor import Tensor
from ..parameter import Parameter
from .container import _not_iterable, pairs
from .module import Module


def _as_parameter(value: Any) -> Any:
    """Return a tensor as a Parameter, anything else as it is."""
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


def _described(value: Any, legacy: bool) -> str:
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    size = "x".join(str(n) for n in value.shape)
    where = f" ({value.device})" if value.is_cuda else ""
    kind = value.type() if legacy else value.dtype
    return f"Parameter containing: [{kind} of size {size}{where}]"


class _Holder(Module):
    """Values as attributes of the module, which knows the parameters among them."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = type(self).__name__
        raise RuntimeError(
            message(name, "a call", "indexing", f"{name} should not be called.")
        )


class ParameterList(_Holder):
    """A list of parameters; tensors become parameters, other values stay what they are.

    >>> import numtensor as nt
    >>> held = nt.nn.ParameterList([nt.ones(2, 3), nt.ones(4)])
    >>> len(list(held.parameters()))
    2
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def _place(self, index: Any) -> str:
        if not -self._size <= index < self._size:
            raise IndexError(
                message(
                    "ParameterList",
                    f"index {index}",
                    f"one from {-self._size} to {self._size - 1}",
                    f"index {index} is out of range.",
                )
            )
        return str(index % self._size)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            found = type(self)()
            return found.extend([self[k] for k in range(*index.indices(self._size))])
        return getattr(self, self._place(index))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._place(index), _as_parameter(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(self._size))

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def append(self, value: Any) -> ParameterList:
        """Add a value at the end; return this list."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add all of `values` at the end; return this list.

        Raises: TypeError, no iterable.
        """
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise _not_iterable("ParameterList", "extend", "an iterable", values)
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        lines = (f"  ({k}): {_described(v, False)}" for k, v in enumerate(self))
        return "\n".join(lines)


class ParameterDict(_Holder):
    """Parameters by name; tensors become parameters, other values stay what they are.

    >>> import numtensor as nt
    >>> held = nt.nn.ParameterDict({"a": nt.ones(2)})
    >>> held["b"] = nt.ones(3)
    >>> [name for name, _ in held.named_parameters()]
    ['a', 'b']
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def _attribute(self, key: Any) -> str:
        if not isinstance(key, str):
            kind = type(key).__name__
            raise TypeError(
                message(
                    "ParameterDict",
                    f"a key of type {kind}",
                    "a string",
                    "Index given to ParameterDict cannot be used as a key as it is "
                    f"not a string (type is '{kind}').",
                )
            )
        return key

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        name = self._attribute(key)
        setattr(self, name, _as_parameter(value))
        self._keys[name] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def keys(self) -> Any:
        """Return the names."""
        return self._keys.keys()

    def values(self) -> Any:
        """Return the values."""
        return (self[key] for key in self._keys)

    def items(self) -> Any:
        """Return pairs of names and values."""
        return ((key, self[key]) for key in self._keys)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a name, `default` if there is none."""
        return self[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a name, which becomes `default` if there is none."""
        if key not in self._keys:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take out a value and return it. Raises: KeyError."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out the last name and value and return them. Raises: KeyError."""
        key, _ = self._keys.popitem()
        value = getattr(self, key)
        delattr(self, key)
        return key, value

    def clear(self) -> None:
        """Take out everything."""
        for key in list(self._keys):
            del self[key]

    def copy(self) -> ParameterDict:
        """Return another dictionary of the same parameters."""
        return ParameterDict(dict(self.items()))

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """Return a dictionary that has `default` under all of `keys`."""
        return ParameterDict((key, default) for key in keys)

    def update(self, parameters: Any) -> None:
        """Add the values of a mapping, or of pairs. Raises: TypeError, ValueError."""
        for key, value in pairs("ParameterDict", parameters):
            self[key] = value

    def __or__(self, other: Any) -> ParameterDict:
        found = self.copy()
        found.update(other)
        return found

    def __ror__(self, other: Any) -> ParameterDict:
        found = ParameterDict(other)
        found.update(self)
        return found

    def __ior__(self, other: Any) -> ParameterDict:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        lines = (f"  ({k}): {_described(v, True)}" for k, v in self.items())
        return "\n".join(lines)
