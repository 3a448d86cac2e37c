"""Every error a user can cause or meet, in one tree.

    AppError                      500  something of ours is wrong
    ├── InvalidInput              400  what was handed in cannot be used
    │   ├── UnreadableFile             missing, not permitted, truncated, not text
    │   ├── WrongColumns               the file's header lacks what the preset needs
    │   ├── RowsRejected               --strict met a bad row
    │   └── NotEnoughCustomers         too few to segment
    ├── NotFound                  404
    │   ├── StoreNotFound
    │   ├── CustomerNotFound
    │   └── NothingPublished           no segmentation run has been published yet
    ├── Conflict                  409
    │   └── RunInProgress              another segmentation of the same store is running
    ├── ConfigurationError        500  a setting is missing or makes no sense
    └── Unavailable               503  something we stand on is away
        ├── DatabaseUnavailable
        └── EmbeddedDatabaseError      the packaged Postgres cannot be started

A message says what happened, to what, and what to do about it. The command line prints it as one line;
`status` is the HTTP status it stands for.
"""

from collections.abc import Sequence
from datetime import datetime


class AppError(Exception):
    """Base of all of them."""

    status = 500


class InvalidInput(AppError):
    status = 400


class UnreadableFile(InvalidInput):
    pass


class WrongColumns(InvalidInput):
    pass


class RowsRejected(InvalidInput):
    pass


class NotEnoughCustomers(InvalidInput):
    def __init__(self, *, found: int, needed: int, store_id: str, as_of: datetime) -> None:
        before = f"Store '{store_id}' has {found} customers with a purchase before {as_of:%Y-%m-%d %H:%M} UTC"
        way_out = f", or lower the bar with --min-population {found}" if found else ", or take a later day"
        super().__init__(f"{before}; segments need at least {needed}. Import more orders{way_out}.")
        self.found = found
        self.needed = needed


class NotFound(AppError):
    status = 404


class StoreNotFound(NotFound):
    def __init__(self, store_id: str, *, known: Sequence[str] = ()) -> None:
        there = f"There are: {', '.join(known)}." if known else "There are none yet."
        super().__init__(
            f"There is no store '{store_id}'. {there} Load one with `python -m app import csv` or "
            "`python -m app sample`."
        )


class CustomerNotFound(NotFound):
    def __init__(self, customer_id: str, *, store_id: str) -> None:
        super().__init__(f"Store '{store_id}' has no customer '{customer_id}'. Check the id and the store.")


class NothingPublished(NotFound):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"No segmentation of store '{store_id}' has been published yet. "
            f"Run `python -m app segment --store {store_id}`."
        )


class Conflict(AppError):
    status = 409


class RunInProgress(Conflict):
    def __init__(self, *, store_id: str, run_id: int | None) -> None:
        which = f"run {run_id}" if run_id is not None else "another run"
        super().__init__(
            f"Store '{store_id}' is being segmented already ({which}). Wait for it to end, then try again."
        )
        self.run_id = run_id


class ConfigurationError(AppError):
    pass


class Unavailable(AppError):
    status = 503


class DatabaseUnavailable(Unavailable):
    pass


class EmbeddedDatabaseError(Unavailable):
    pass
