"""Files that are there whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.core.errors import InvalidInput

# What writing fails with where there is no room, and nothing else does.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when the block has ended well.

    A link stays and what it points to is replaced; a pipe or a device is written to as it is.

    Raises InvalidInput where it cannot be written (no such folder, not permitted, disk full).
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        with _explained(path):
            file = target.open("wb")
        with file:
            yield file
        return
    with _explained(path):
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with _explained(path, only=_FULL), open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
            yield file
            with _explained(path):
                file.flush()
                os.fsync(descriptor)
        with _explained(path):
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
