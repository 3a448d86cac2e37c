"""How long work says how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with the step under way and the share of it that is done, 0..1."""

    def __call__(self, step: str, done: float) -> None: ...


def unheard(step: str, done: float) -> None:
    """Nobody listens."""
