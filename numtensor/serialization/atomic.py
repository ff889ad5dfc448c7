"""Writing a file so that its path always holds a whole one: the old or the new.

The bytes go to a temporary file in the same folder, which takes the path's place once
they are on the disk. Knows nothing of what is written.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from typing import IO

from ..errors import message
from .faults import FolderError


def write(path: str, fill: Callable[[IO[bytes]], None]) -> None:
    """Make `path` hold what `fill` writes to the file it is called with.

    If anything is raised on the way, the path is as it was and the temporary file is
    gone. A link is followed; what is no regular file, such as a pipe, is written to
    as it is.
    Raises: FolderError, the folder does not exist; OSError.
    """
    path = os.path.realpath(path)
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:
            fill(file)
        return
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".numtensor-{secrets.token_hex(8)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        number = os.open(temporary, flags, 0o666)  # less the umask, as open() makes
    except FileNotFoundError:
        raise FolderError(
            message(
                "save",
                f"the path {path!r}",
                "a path in a folder that exists",
                f"Parent directory {folder} does not exist. Make it with "
                "os.makedirs(folder, exist_ok=True).",
            )
        ) from None
    try:
        with open(number, "wb") as file:
            if mode is not None:
                os.fchmod(number, stat.S_IMODE(mode))
            fill(file)
            file.flush()
            os.fsync(number)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:  # it has taken the path's place
            pass
        raise
    _sync_folder(folder)


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: str) -> None:
    """Let the new name reach the disk too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:  # some file systems have no such thing for folders
        pass
    finally:
        os.close(number)
