"""Every error a user can cause or meet, in one tree.

    AppError                      500  something of ours is wrong
    ├── InvalidInput              400  what was handed in cannot be used
    │   ├── UnreadableFile             missing, not permitted, truncated, not text
    │   ├── WrongColumns               the file's header lacks what the preset needs
    │   ├── RowsRejected               --strict met a bad row
    │   ├── UnreadableBody             a request's, that is no JSON, or none that we take
    │   ├── BackupTooNew               made by a version that knows more than this one
    │   ├── InvalidParameter      422  of a request, named
    │   └── NotEnoughCustomers         too few to segment
    ├── Unauthenticated           401  no key, or none that opens anything
    ├── ScopeMissing              403  the key does not reach this far
    ├── NotFound                  404
    │   ├── StoreNotFound
    │   ├── CustomerNotFound
    │   ├── EmailNotFound
    │   ├── NoCustomers                the store is empty
    │   ├── ArchetypeNotFound
    │   ├── AxisNotFound
    │   ├── KeyNotFound
    │   ├── RunNotFound
    │   ├── JobNotFound
    │   ├── NoMetrics                  they are not to be shown
    │   ├── ReceiptNotFound            of an erasure
    │   ├── NothingPredicted           no predictions have been published yet
    │   ├── NotPredicted               those that have been say nothing of this customer
    │   ├── ModelNotFound
    │   └── NothingPublished           no segmentation run has been published yet
    ├── TooManyRequests           429  more than a key may ask in a minute
    ├── TooManyFailures           429  too many wrong keys from one address
    ├── Conflict                  409
    │   ├── KeyNotLive                 a key that is revoked or has expired
    │   ├── KeyReplaced                another has taken its place already
    │   ├── LastAdminKey               without it nobody could manage the store's keys
    │   ├── NotEnoughHistory           too few days of orders to tell from them what comes
    │   ├── GrowthNotProjected         the predictions that are served say nothing of growth
    │   ├── PredictionInProgress       another training of the same store's predictions is under way
    │   ├── RunInProgress              another segmentation of the same store is running
    │   ├── RunEnded                   the run that was to be begun has been published already
    │   ├── RunOvertaken               a later discovery is served than the one that was to be begun
    │   ├── JobNotFailed               only what has failed is done again
    │   ├── DatabaseNotEmpty           a backup is restored beside nothing else
    │   ├── OutdatedRun                the served run was made by an older version
    │   └── OutdatedPredictions        the served predictions' models were trained by another version
    ├── ConfigurationError        500  a setting is missing or makes no sense
    │   ├── PortInUse                  another program listens there
    │   ├── NoRoomForMetrics           the disk is full on which several processes count together
    │   └── AlertRefused               Slack takes nothing at this address
    └── Unavailable               503  something we stand on is away
        ├── AlertNotTold               Slack is away or asks to wait
        ├── DatabaseUnavailable
        ├── EmbeddedDatabaseError      the packaged Postgres cannot be started
        ├── RunForgotten               a run was replaced while it was being read
        └── StoreBusy                  what is to be changed is being written by somebody else

A message says what happened, to what, and what to do about it. The command line prints it as one line;
`status` is the HTTP status it stands for.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

_SHOWN = 60


def shortened(text: str) -> str:
    """What somebody wrote, safe to repeat to them: quoted, plain ASCII, and short."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class AppError(Exception):
    """Base of all of them."""

    status = 500

    @classmethod
    def title(cls) -> str:
        """Its name in words: "Customer not found"."""
        return re.sub(r"(?<!^)(?=[A-Z])", " ", cls.__name__).capitalize()

    @classmethod
    def slug(cls) -> str:
        """Its name for addresses: customer-not-found."""
        return cls.title().lower().replace(" ", "-")


class InvalidInput(AppError):
    status = 400


class UnreadableFile(InvalidInput):
    pass


class WrongColumns(InvalidInput):
    pass


class RowsRejected(InvalidInput):
    pass


class UnreadableBody(InvalidInput):
    """why : what is wrong with it, as a clause"""

    def __init__(self, why: str) -> None:
        super().__init__(f"The body cannot be read: {why}. Send JSON, as UTF-8.")


class BackupTooNew(InvalidInput):
    """made_by : the version that made it"""

    def __init__(self, path: Path, *, made_by: str) -> None:
        super().__init__(
            f"{path} was made by version {made_by}, and holds what this version does not know. Restore it with that "
            "version or a newer one."
        )


class NotEnoughCustomers(InvalidInput):
    def __init__(self, *, found: int, needed: int, store_id: str, as_of: datetime) -> None:
        before = f"Store '{store_id}' has {found} customers with a purchase before {as_of:%Y-%m-%d %H:%M} UTC"
        way_out = f", or lower the bar with --min-population {found}" if found else ", or take a later day"
        super().__init__(f"{before}; segments need at least {needed}. Import more orders{way_out}.")
        self.found = found
        self.needed = needed


class InvalidParameter(InvalidInput):
    """field : the parameter, as the caller writes it; message : what it must be"""

    status = 422

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Unauthenticated(AppError):
    """Says the same of a key that is missing, malformed, wrong or revoked: which one is nobody's business."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "A valid key is needed in the header X-API-Key. Make one with `python -m app keys create --scope support`."
        )


class ScopeMissing(AppError):
    status = 403

    def __init__(self, *, needed: Sequence[str], held: Sequence[str]) -> None:
        super().__init__(
            f"This needs a key with scope {' or '.join(needed)}; this one has {', '.join(held)}. "
            "Ask with such a key, or make one with `python -m app keys create`."
        )


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
        super().__init__(f"Store '{store_id}' has no customer {shortened(customer_id)}. Check the id and the store.")


class EmailNotFound(NotFound):
    """The address is not repeated: an error is kept in more places than the one it is shown in."""

    def __init__(self, *, store_id: str) -> None:
        super().__init__(
            f"Store '{store_id}' has no customer with that e-mail address. Check it, or ask by the customer's id."
        )


class NoCustomers(NotFound):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"Store '{store_id}' has no customers yet. Load some with `python -m app import csv` or "
            "`python -m app sample`."
        )


class ArchetypeNotFound(NotFound):
    def __init__(self, archetype_id: str, *, store_id: str) -> None:
        super().__init__(
            f"Store '{store_id}' serves no archetype {shortened(archetype_id)}. "
            "Take an id from GET /api/mcp/archetypes/top; a new segmentation may retire ids."
        )


class AxisNotFound(NotFound):
    def __init__(self, axis: str, *, there: Sequence[str]) -> None:
        super().__init__(f"There is no axis {shortened(axis)}. There are: {', '.join(there)}.")


class KeyNotFound(NotFound):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {shortened(key_id)}. `python -m app keys list` shows those there are.")


class TooManyRequests(AppError):
    """what : the key has done, such as "asked"; retry_after_seconds : when there is room again"""

    status = 429

    def __init__(self, what: str, *, most: int, retry_after_seconds: int) -> None:
        super().__init__(
            f"This key has {what} {most} times within a minute, which is as often as it may. Ask again in "
            f"{retry_after_seconds} seconds."
        )
        self.retry_after_seconds = retry_after_seconds


class TooManyFailures(AppError):
    """retry_after_seconds : when a key is looked at again"""

    status = 429

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"Too many requests without a valid key came from this address. Try again in {retry_after_seconds} seconds."
        )
        self.retry_after_seconds = retry_after_seconds


class NothingPublished(NotFound):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"No segmentation of store '{store_id}' has been published yet. "
            f"Run `python -m app segment --store {store_id}`."
        )


class NothingPredicted(NotFound):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"No predictions of store '{store_id}' have been published yet. "
            f"Run `python -m app predict --store {store_id}`."
        )


class NotPredicted(NotFound):
    """reason : why, in a sentence"""

    def __init__(self, customer_id: str, *, reason: str) -> None:
        super().__init__(f"Nothing is predicted of customer {shortened(customer_id)}. {reason}")


class ModelNotFound(NotFound):
    def __init__(self, name: str, *, there: Sequence[str]) -> None:
        super().__init__(f"There is no model {shortened(name)}. There are: {', '.join(there)}.")


class RunNotFound(NotFound):
    def __init__(self, run_id: int | None) -> None:
        super().__init__(
            "The store has not been segmented yet. POST /api/admin/cluster does it."
            if run_id is None
            else f"There is no run {run_id}. GET /api/admin/cluster/status shows the latest."
        )


class JobNotFound(NotFound):
    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job {job_id}. GET /api/admin/jobs lists those there are.")


class NoMetrics(NotFound):
    def __init__(self) -> None:
        super().__init__("Metrics are not shown here. Set ENABLE_PROMETHEUS_METRICS=true to have them.")


class ReceiptNotFound(NotFound):
    def __init__(self, receipt_id: str) -> None:
        super().__init__(
            f"There is no receipt {shortened(receipt_id)}. GET /api/privacy/receipts lists those there are."
        )


class Conflict(AppError):
    status = 409


class KeyNotLive(Conflict):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {shortened(key_id)} is revoked or has expired. Make a new one instead.")


class KeyReplaced(Conflict):
    def __init__(self, key_id: str, *, by: str) -> None:
        super().__init__(
            f"Key {shortened(key_id)} was replaced by {by}. Replace that one instead, also where it was lost."
        )


class LastAdminKey(Conflict):
    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"Key {shortened(key_id)} is the last of its store with scope admin; without it nobody could manage the "
            "store's keys. Make another first, or revoke it with `python -m app keys revoke`."
        )


class NotEnoughHistory(Conflict):
    """what : what is wanted and what it takes, as a clause; found : days of orders there are"""

    def __init__(self, what: str, *, found: int) -> None:
        there = "there are no orders yet" if found == 0 else f"there are {found}"
        super().__init__(f"Not enough history: {what}, and {there}. Import older orders, or take a later day.")
        self.found = found


class GrowthNotProjected(Conflict):
    """reason : what was said of it when they were trained; None of those of an older version, which told no growth"""

    def __init__(self, store_id: str, *, reason: str | None) -> None:
        again = f"Run `python -m app predict --store {store_id}`"
        super().__init__(
            f"The predictions of store '{store_id}' were published by an older version, which told no growth. {again}."
            if reason is None
            else f"{reason} {again} then."
        )


class PredictionInProgress(Conflict):
    def __init__(self, *, store_id: str) -> None:
        super().__init__(
            f"Predictions of store '{store_id}' are being trained already. Wait for that to end, then try again."
        )


class RunInProgress(Conflict):
    def __init__(self, *, store_id: str, run_id: int | None) -> None:
        which = f"run {run_id}" if run_id is not None else "another run"
        super().__init__(
            f"Store '{store_id}' is being segmented already ({which}). Wait for it to end, then try again."
        )
        self.run_id = run_id


class RunEnded(Conflict):
    def __init__(self, *, store_id: str, run_id: int) -> None:
        super().__init__(f"Run {run_id} of store '{store_id}' has been published already. Ask for a new one.")


class RunOvertaken(Conflict):
    """served : the later discovery"""

    def __init__(self, *, store_id: str, run_id: int, served: int) -> None:
        super().__init__(
            f"Run {run_id} of store '{store_id}' was asked for before run {served}, whose segments are served by now: "
            "it cannot go on from them. Have its job tried again, which begins a new run, or ask for another."
        )


class JobNotFailed(Conflict):
    """like_it : it has failed, but another of its kind waits or runs"""

    def __init__(self, job_id: int, *, like_it: bool) -> None:
        super().__init__(
            f"Another job like job {job_id} waits or runs already. Wait for that one to end."
            if like_it
            else f"Job {job_id} has not failed, so there is nothing to do again."
        )


class DatabaseNotEmpty(Conflict):
    """tables : those that hold something"""

    def __init__(self, tables: Sequence[str]) -> None:
        shown = ", ".join(tables[:3]) + (" and others" if len(tables) > 3 else "")
        super().__init__(
            f"The database is not empty ({shown}), and a backup is only restored into an empty one: nothing of either "
            "is lost or mixed. Set DATA_DIR to a new folder, or DATABASE_URL to a new database, and try again."
        )


class OutdatedRun(Conflict):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"The segmentation of store '{store_id}' was published by an older version, which kept less than is needed "
            f"to describe one customer. Run `python -m app segment --store {store_id}` again."
        )


class OutdatedPredictions(Conflict):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"The predictions of store '{store_id}' were trained by another version, whose models this one cannot "
            f"read. Run `python -m app predict --store {store_id}` again."
        )


class ConfigurationError(AppError):
    pass


class PortInUse(ConfigurationError):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"Port {port} of {host} is in use by another program. Stop that, or set PORT to another.")


class NoRoomForMetrics(ConfigurationError):
    def __init__(self, folder: str, *, size: int, why: str) -> None:
        super().__init__(
            f"What several processes count cannot be kept in {folder} ({why}): it takes "
            f"{size / 1024**2:.0f} MiB. Make room there, set TMPDIR to another folder, or set WORKERS to 1 or "
            "ENABLE_PROMETHEUS_METRICS to false."
        )


class AlertRefused(ConfigurationError):
    """answer : what Slack said, in its own word or as an HTTP status; never the address, which is a secret"""

    def __init__(self, store_id: str, *, answer: str) -> None:
        super().__init__(
            f"Slack refused the alert of store '{store_id}' ({answer}). Look at the incoming webhook in Slack or "
            "make a new one, set SLACK_WEBHOOK_URL to its address, and run the job again."
        )


class Unavailable(AppError):
    status = 503


class AlertNotTold(Unavailable):
    """retry_after_seconds : when it is worth trying again"""

    def __init__(self, store_id: str, *, reason: str, retry_after_seconds: int) -> None:
        super().__init__(
            f"The alert of store '{store_id}' was not told: {reason}. Try again in {retry_after_seconds} seconds."
        )
        self.retry_after_seconds = retry_after_seconds


class DatabaseUnavailable(Unavailable):
    """cut : the connection was, in the middle of the work; over another the same may go well"""

    def __init__(self, message: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut


class EmbeddedDatabaseError(Unavailable):
    pass


class RunForgotten(Unavailable):
    def __init__(self) -> None:
        super().__init__("The run that was being read has just been replaced by a newer one. Ask again.")


class StoreBusy(Unavailable):
    def __init__(self, store_id: str) -> None:
        super().__init__(
            f"Store '{store_id}' is being written to, by an import or by a run about to end. Try again in a minute."
        )
