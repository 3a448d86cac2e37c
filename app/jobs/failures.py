"""How work fails: in one line that may be kept and shown, and whether to try it again."""

import traceback
from pathlib import Path

from app.core.errors import AlertNotTold, AppError, Unavailable

#: With `worker.delay_after` half a day: whatever is away for a night is outlived. The queue counts what was given back
#: as a try as well; among so many, the restarts of a day do not matter.
MOST_RETRIES = 32
#: Of what nothing but its own work may have brought about, as a lack of memory: half a minute. After as many restarts
#: the first time is the last, and the job is held.
FEW_RETRIES = 5

_OURS = Path(__file__).resolve().parents[2]


class WorkFailed(AppError):
    """kind : the name of what was raised
    passes : whether it may go well another time, not_before_seconds from now; retries : how often that is believed
    """

    def __init__(
        self, message: str, *, kind: str, passes: bool, not_before_seconds: int = 0, retries: int = MOST_RETRIES
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.passes = passes
        self.retries = retries
        self.not_before_seconds = not_before_seconds


def failure_of(error: Exception) -> WorkFailed:
    """What an error comes to. Of one that is not ours only its name and place: its words may hold a customer's."""
    if isinstance(error, WorkFailed):
        return error
    if isinstance(error, AppError):
        return WorkFailed(
            str(error),
            kind=type(error).__name__,
            passes=isinstance(error, Unavailable),
            not_before_seconds=error.retry_after_seconds if isinstance(error, AlertNotTold) else 0,
        )
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_OURS / "app")]
    where = "".join(f" in {Path(frame.filename).relative_to(_OURS)}, line {frame.lineno}" for frame in ours[-1:])
    name = type(error).__name__
    return WorkFailed(f"Something of ours went wrong: {name}{where}.", kind=name, passes=False)
