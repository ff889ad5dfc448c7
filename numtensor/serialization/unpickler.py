"""Pickles read as data: a machine that builds plain containers, and asks a table for
everything else.

It follows the instructions of a pickle itself, those that data needs. A name in the
stream is looked up in the table it was given, and never imported; what is called is
what the table holds; no attribute is set but an OrderedDict's `_metadata`. Whatever
else a pickle asks for is refused by name, and has not run.

Knows no tensors. The instructions are those of Python's `pickletools`.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import IO, Any

from ..errors import NumtensorError, message
from .faults import FileError, UnpicklingError, brief
from .source import most_from

#: marks within marks: as deep as Python's own pickler goes
_MOST_MARKS = 1000
#: what a key of a dict may consist of: hashing a tuple of tuples takes the C stack
_MOST_KEY, _DEEPEST_KEY = 1000, 50

_ATOMS = frozenset((str, int, float, bool, bytes, complex, type(None)))
_MAPPINGS = frozenset((dict, OrderedDict, Counter))
_BY_CODE = {code.code.encode("latin-1"): code for code in pickletools.opcodes}


class Part:
    """What a pickle has on the way to data, and must not be left with."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Known(Part):
    """What a name of the table stands for; `call` is what calling it does."""

    __slots__ = ("call",)

    def __init__(self, name: str, call: Callable[..., Any] | None = None) -> None:
        super().__init__(name)
        self.call = call


class _Stop(Exception):
    """The end of the pickle."""


def refused(label: str, what: str, do: str) -> UnpicklingError:
    """Return the error of a pickle that asks for more than data."""
    return UnpicklingError(
        message(
            "load",
            f"{what} in {label}",
            "tensors, numbers, strings and plain containers",
            f"It was refused, and nothing of it was run. {do}",
        )
    )


class Unpickler:
    """One pickle at a time from a file.

    `find(module, name)` returns a `Known` or a finished object, or raises;
    `persistent(id)` returns what an id stands for; `size` is how many bytes a pickle
    could have. Raises: UnpicklingError.
    """

    def __init__(
        self,
        file: IO[bytes],
        size: int,
        label: str,
        find: Callable[[str, str], Any],
        persistent: Callable[[Any], Any],
    ) -> None:
        self._read = file.read
        self._readline = file.readline
        self._size = size
        self._label = label
        self._find = find
        self._persistent = persistent
        self._steps: dict[bytes, Callable[[], None]] = {
            code: getattr(self, name) for code, name in _STEPS.items()
        }

    def load(self) -> Any:
        """Return the object that the next pickle describes."""
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._made = 0  # bytes, about, that calls copied from what is in the pickle
        read, steps = self._read, self._steps
        code = b""
        try:
            while True:
                code = read(1)
                steps[code]()
        except _Stop:
            _check_finished(self._result, self._label)
            return self._result
        except NumtensorError:
            raise
        except KeyError:
            if code not in steps:
                raise self._unknown(code) from None
            raise self._wrong("a reference to nothing") from None
        except (IndexError, struct.error):
            raise self._wrong("an end too early") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise self._wrong(f"a part that makes no sense ({error})") from None

    def _unknown(self, code: bytes) -> UnpicklingError:
        if not code:
            return self._wrong("an end too early")
        known = _BY_CODE.get(code)
        if known is None:
            return self._wrong(f"the byte {code!r}")
        return refused(self._label, f"the pickle instruction {known.name}", _DISTRUST)

    def _wrong(self, what: str) -> UnpicklingError:
        return UnpicklingError(
            message(
                "load",
                f"{what} in {self._label}",
                "a whole pickle",
                "The file is truncated or damaged: get it again.",
            )
        )

    # what the steps are made of

    def _pop(self) -> Any:
        return self._stack.pop()

    def _bytes(self, count: int) -> bytes:
        """Return the next bytes, which the file must have before they are asked for."""
        if count > self._size:
            raise self._wrong(f"a string of {count} bytes")
        found = self._read(count)
        if len(found) != count:
            raise self._wrong("an end too early")
        return found

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _line(self) -> str:
        line = self._readline(1000)
        if not line.endswith(b"\n"):
            raise self._wrong("a name without an end")
        return line[:-1].decode("utf-8")

    def _since_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _target(self, kinds: frozenset[type] | tuple[type, ...], what: str) -> Any:
        found = self._stack[-1]
        if type(found) not in kinds:
            raise refused(self._label, f"{what} a {type(found).__name__}", _DISTRUST)
        return found

    # the steps, by the names that pickletools gives them

    def proto(self) -> None:
        found = self._number("<B")
        if found > 5:
            raise self._wrong(f"pickle protocol {found}")

    def frame(self) -> None:
        self._number("<Q")

    def stop(self) -> None:
        self._result = self._pop()
        raise _Stop

    def mark(self) -> None:
        if len(self._marks) >= _MOST_MARKS:
            raise self._wrong(f"more than {_MOST_MARKS} containers in each other")
        self._marks.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def pop_mark(self) -> None:
        self._since_mark()

    def none(self) -> None:
        self._stack.append(None)

    def newtrue(self) -> None:
        self._stack.append(True)

    def newfalse(self) -> None:
        self._stack.append(False)

    def binint(self) -> None:
        self._stack.append(self._number("<i"))

    def binint1(self) -> None:
        self._stack.append(self._bytes(1)[0])

    def binint2(self) -> None:
        self._stack.append(self._number("<H"))

    def long1(self) -> None:
        data = self._bytes(self._number("<B"))
        self._stack.append(int.from_bytes(data, "little", signed=True))

    def binfloat(self) -> None:
        self._stack.append(struct.unpack(">d", self._bytes(8))[0])

    def _text(self, form: str) -> None:
        data = self._bytes(self._number(form))
        self._stack.append(str(data, "utf-8", "surrogatepass"))

    def short_binunicode(self) -> None:
        self._text("<B")

    def binunicode(self) -> None:
        self._text("<I")

    def binunicode8(self) -> None:
        self._text("<Q")

    def short_binstring(self) -> None:
        # a str of Python 2
        self._text("<B")

    def binstring(self) -> None:
        self._text("<I")

    def short_binbytes(self) -> None:
        self._stack.append(self._bytes(self._number("<B")))

    def binbytes(self) -> None:
        self._stack.append(self._bytes(self._number("<I")))

    def binbytes8(self) -> None:
        self._stack.append(self._bytes(self._number("<Q")))

    def bytearray8(self) -> None:
        self._stack.append(bytearray(self._bytes(self._number("<Q"))))

    def empty_list(self) -> None:
        self._stack.append([])

    def empty_dict(self) -> None:
        self._stack.append({})

    def empty_set(self) -> None:
        self._stack.append(set())

    def empty_tuple(self) -> None:
        self._stack.append(())

    def tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(_tuple(items))

    def tuple1(self) -> None:
        self._stack.append((self._pop(),))

    def tuple2(self) -> None:
        b, a = self._pop(), self._pop()
        self._stack.append((a, b))

    def tuple3(self) -> None:
        c, b, a = self._pop(), self._pop(), self._pop()
        self._stack.append((a, b, c))

    def append(self) -> None:
        item = self._pop()
        self._target((list,), "appending to").append(item)

    def appends(self) -> None:
        items = self._since_mark()
        self._target((list,), "appending to").extend(items)

    def setitem(self) -> None:
        value, key = self._pop(), self._pop()
        check_key(key, self._label)
        self._target(_MAPPINGS, "setting an item of")[key] = value

    def setitems(self) -> None:
        items = self._since_mark()
        target = self._target(_MAPPINGS, "setting an item of")
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key, self._label)
            target[key] = value

    def additems(self) -> None:
        items = self._since_mark()
        for item in items:
            check_key(item, self._label)
        self._target((set,), "adding to").update(items)

    def frozenset(self) -> None:
        items = self._since_mark()
        for item in items:
            check_key(item, self._label)
        self._stack.append(_frozenset(items))

    def get(self) -> None:
        self._stack.append(self._memo[self._bytes(1)[0]])

    def long_get(self) -> None:
        self._stack.append(self._memo[self._number("<I")])

    def put(self) -> None:
        self._memo[self._bytes(1)[0]] = self._stack[-1]

    def long_put(self) -> None:
        self._memo[self._number("<I")] = self._stack[-1]

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def global_(self) -> None:
        module = self._line()
        self._stack.append(self._find(module, self._line()))

    def stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise self._wrong("a global whose name is no string")
        self._stack.append(self._find(module, name))

    def reduce(self) -> None:
        args, called = self._pop(), self._pop()
        if type(called) is not Known or called.call is None or type(args) is not _tuple:
            name = called.name if type(called) is Known else type(called).__name__
            raise refused(self._label, f"a call of {name!r}", _DISTRUST)
        # the same text can be an argument again and again, a few bytes each time
        self._made += sum(map(_weight, args))
        if self._made > most_from(self._size):
            raise refused(
                self._label,
                f"{self._made} bytes made by calls in a pickle of at most {self._size}",
                _DISTRUST,
            )
        self._stack.append(called.call(*args))

    def inst(self) -> None:
        name = f"{self._line()}.{self._line()}"
        raise refused(self._label, f"an instance of {name!r}", _DISTRUST)

    def build(self) -> None:
        state = self._pop()
        target = self._target((OrderedDict,), "setting attributes of")
        if type(state) is not dict:
            raise self._wrong(f"attributes in a {type(state).__name__}")
        if "_metadata" in state:  # of a state_dict: the versions of its modules
            target._metadata = state["_metadata"]

    def persistent(self) -> None:
        self._stack.append(self._persistent(self._pop()))


_DISTRUST = "Do not trust this file."
_tuple, _frozenset = tuple, frozenset  # hidden in the class by steps of these names
_COPIED = frozenset((list, tuple, dict))

_STEPS = {
    pickle.PROTO: "proto",
    pickle.FRAME: "frame",
    pickle.STOP: "stop",
    pickle.MARK: "mark",
    pickle.POP: "pop",
    pickle.POP_MARK: "pop_mark",
    pickle.NONE: "none",
    pickle.NEWTRUE: "newtrue",
    pickle.NEWFALSE: "newfalse",
    pickle.BININT: "binint",
    pickle.BININT1: "binint1",
    pickle.BININT2: "binint2",
    pickle.LONG1: "long1",
    pickle.BINFLOAT: "binfloat",
    pickle.SHORT_BINUNICODE: "short_binunicode",
    pickle.BINUNICODE: "binunicode",
    pickle.BINUNICODE8: "binunicode8",
    pickle.SHORT_BINSTRING: "short_binstring",
    pickle.BINSTRING: "binstring",
    pickle.SHORT_BINBYTES: "short_binbytes",
    pickle.BINBYTES: "binbytes",
    pickle.BINBYTES8: "binbytes8",
    pickle.BYTEARRAY8: "bytearray8",
    pickle.EMPTY_LIST: "empty_list",
    pickle.EMPTY_DICT: "empty_dict",
    pickle.EMPTY_SET: "empty_set",
    pickle.EMPTY_TUPLE: "empty_tuple",
    pickle.TUPLE: "tuple",
    pickle.TUPLE1: "tuple1",
    pickle.TUPLE2: "tuple2",
    pickle.TUPLE3: "tuple3",
    pickle.APPEND: "append",
    pickle.APPENDS: "appends",
    pickle.SETITEM: "setitem",
    pickle.SETITEMS: "setitems",
    pickle.ADDITEMS: "additems",
    pickle.FROZENSET: "frozenset",
    pickle.BINGET: "get",
    pickle.LONG_BINGET: "long_get",
    pickle.BINPUT: "put",
    pickle.LONG_BINPUT: "long_put",
    pickle.MEMOIZE: "memoize",
    pickle.GLOBAL: "global_",
    pickle.STACK_GLOBAL: "stack_global",
    pickle.REDUCE: "reduce",
    pickle.NEWOBJ: "reduce",  # of what the table has, making is calling
    pickle.INST: "inst",  # which is refused, by the name it has
    pickle.BUILD: "build",
    pickle.BINPERSID: "persistent",
}


def _weight(value: Any) -> int:
    """Return about how many bytes a copy of a call's argument takes."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    return 128 * len(value) if kind in _COPIED else 0


def check_key(key: Any, label: str) -> None:
    """Refuse a key or an element of a set whose hash could take long, or too deep.

    Raises: FileError.
    """
    if type(key) in _ATOMS:
        return
    level, count = [key], 0
    for _ in range(_DEEPEST_KEY):
        count += len(level)
        if count > _MOST_KEY:
            break
        level = [
            item
            for part in level
            if isinstance(part, (tuple, frozenset))
            for item in part
        ]
        if not level:
            return
    raise FileError(
        message(
            "load",
            f"a key that is a large nest of tuples in {label}",
            f"at most {_MOST_KEY} parts, {_DEEPEST_KEY} deep",
            "Do not trust this file.",
        )
    )


def _check_finished(found: Any, label: str) -> None:
    """Refuse a name or a storage among the data. Raises: UnpicklingError."""
    todo = [found]
    seen = set()
    while todo:
        value = todo.pop()
        if type(value) in _ATOMS:
            continue
        if isinstance(value, Part):
            raise refused(
                label, f"{brief(value.name)} as data", "Save the tensor, or its values."
            )
        if not isinstance(value, (list, tuple, dict, set, frozenset)):
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        todo.extend(value)
        if isinstance(value, dict):
            todo.extend(value.values())
