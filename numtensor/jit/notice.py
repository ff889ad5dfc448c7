"""One line on the terminal while a function is traced and compiled, if that takes long.

It says which function, which kernel, how many are done, and seconds; it is written over
itself, and is gone when the work is done. Nothing is written where standard error is no
terminal, nor with NUMTENSOR_PROGRESS=0. Compiles nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

from ..kernels import compiler

#: seconds before the first word, and from one to the next
_PATIENCE, _PERIOD = 1.0, 0.2
_one = threading.Lock()


@contextlib.contextmanager
def of(function: Any, what: str = "compiling") -> Iterator[None]:
    """Tell of what is done inside `with`: it is `what` the function needs."""
    stream = sys.stderr
    if not _is_wanted(stream) or not _one.acquire(blocking=False):
        yield
        return
    try:
        notice = _Notice(stream, f"{what} {_name(function)}()")
        compiler.listeners.append(notice.hear)
        notice.start()
        try:
            yield
        finally:
            compiler.listeners.remove(notice.hear)
            notice.stop()
    finally:
        _one.release()


def _is_wanted(stream: TextIO | None) -> bool:
    if stream is None or os.environ.get("NUMTENSOR_PROGRESS") == "0":
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no file, or a closed one
        return False


def _name(function: Any) -> str:
    found = getattr(function, "__qualname__", type(function).__qualname__)
    return str(found).rpartition("<locals>.")[2]


class _Notice(threading.Thread):
    """Writes the line: a thread, since a kernel may take many seconds."""

    def __init__(self, stream: TextIO, title: str) -> None:
        super().__init__(name="numtensor notice", daemon=True)
        self.stream = stream
        self.title = title
        self.kernel = ""
        self.done = 0
        self.begin = time.monotonic()
        self.shown = 0  # characters of the line that is there
        self.over = threading.Event()

    def hear(self, name: str, seconds: float | None) -> None:
        """A listener of the compiler."""
        if seconds is None:
            self.kernel = name
        else:
            self.done += 1
            self.kernel = ""

    def run(self) -> None:
        wait = _PATIENCE
        while not self.over.wait(wait):
            self.write(self.text())
            wait = _PERIOD

    def text(self) -> str:
        seconds = time.monotonic() - self.begin
        now = f"kernel {self.kernel}" if self.kernel else "recording what it does"
        if self.done and not self.kernel:
            now = "planning"
        return f"numtensor: {self.title}: {now}, {self.done} done, {seconds:.1f} s"

    def write(self, text: str) -> None:
        text = text[: max(1, self._columns() - 1)]
        with contextlib.suppress(OSError, ValueError):
            self.stream.write("\r" + text.ljust(self.shown))
            self.stream.flush()
        self.shown = len(text)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def stop(self) -> None:
        """Clear the line, if there is one, and wait for the thread's last word."""
        self.over.set()
        self.join()
        if self.shown:
            self.write("")
            with contextlib.suppress(OSError, ValueError):
                self.stream.write("\r")
                self.stream.flush()
