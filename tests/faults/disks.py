"""Disks of a few kilobytes: `with small_disk(folder, room_bytes=...)`, where root may mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotMount(Exception):
    """What the machine says of it."""


@contextmanager
def small_disk(folder: Path, *, room_bytes: int) -> Iterator[None]:
    """The folder is one for the block. Raises CannotMount."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room_bytes}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        raise CannotMount(mounted.stderr.strip())
    try:
        yield
    finally:
        # A server may still hold a file that is gone.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """To the last byte. The file that does it; without it there is room again."""
    found = os.statvfs(folder)
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file:
        file.write(b"\0" * found.f_bavail * found.f_frsize)
    return filling
