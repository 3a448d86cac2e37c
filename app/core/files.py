"""Files that are there whole or not at all."""

import errno
import io
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from app.core.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import FileDescriptorOrPath, ReadableBuffer
# What writing fails with where there is no room, and nothing else does.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name only when the block has ended well.

    private : readable by its owner alone, whatever the process asks for elsewhere

    A link stays and what it points to is replaced; a pipe or a device is written to as it is.

    Raises InvalidInput where it cannot be written (no such folder, not permitted, disk full).
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        with _explained(path):
            raw = _Told(target, path)
        with io.BufferedWriter(raw) as file:
            yield file
        return
    with _explained(path):
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with _explained(path, only=_FULL), io.BufferedWriter(_Told(descriptor, path)) as file:
            yield file
            with _explained(path):
                file.flush()
                os.fsync(descriptor)
        with _explained(path):
            temporary.chmod(0o600 if private else 0o666 & ~_umask())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


class _Told(io.FileIO):
    """A file whose trouble in being written is told of `path`, whoever writes and whenever the buffer is emptied."""

    def __init__(self, file: "FileDescriptorOrPath", path: Path) -> None:
        super().__init__(file, "wb")
        self._path = path

    def write(self, data: "ReadableBuffer", /) -> int:
        with _explained(self._path):
            return super().write(data)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises InvalidInput where it cannot be written."""
    with whole_file(path) as file:
        file.write(text.encode())


def check_writable(path: Path) -> None:
    """Raises InvalidInput where `path` cannot be written, before the work whose result it is to hold."""
    target = path.resolve()
    if target.is_dir() or not os.access(target if target.exists() else target.parent, os.W_OK):
        raise InvalidInput(f"Cannot write {path}: it is a folder, in none, or not permitted. Choose another place.")


@contextmanager
def _explained(path: Path, *, only: Collection[int] | None = None) -> Iterator[None]:
    """only : the failures that are the file's where others may be somebody else's; None for all"""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise InvalidInput(
            f"Cannot write {path}: {error.strerror or error}. Choose another place or free it."
        ) from error


def _umask() -> int:
    """The process's; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
