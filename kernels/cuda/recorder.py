"""A device that runs nothing: it keeps the kernels it is asked to launch.

`cuda-check` calls the library's operators on it, to learn which kernels they would run
on a GPU, and then compiles those. Memory is the host's, and zero.
"""

from __future__ import annotations

from typing import Any

from . import sources
from .driver import Properties
from .simulator import Simulator


class Recorded:
    """A kernel that was asked for."""

    __slots__ = ("name", "path", "source")

    def __init__(self, name: str, path: Any, source: str) -> None:
        self.name = name
        self.path = path
        self.source = source


class Recorder(Simulator):
    """Simulated memory, no launches."""

    simulated = False

    def __init__(self) -> None:
        super().__init__()
        self.kernels: dict[str, Recorded] = {}

    def properties(self, index: int) -> Properties:
        return Properties("recorder", 8, 0, self._bytes, 108)

    def load(self, name: str, source: str) -> Any:
        key = sources.key(name, source)
        if key not in self.kernels:
            path = sources.keep(name, source)
            self.kernels[key] = Recorded(name, path, source)
        return self.kernels[key]

    def launch(
        self, index: int, kernel: Any, grid: int, block: int, stream: Any, args: Any
    ) -> None:
        pass
