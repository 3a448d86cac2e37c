"""What Postgres cannot do at the moment, told from what was asked of it wrongly."""

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseUnavailable
from app.warehouse.lines import Line

# By SQLSTATE, which is how Postgres calls it: what it comes to, and what to do about it.
_MEANS = {
    "25006": "The database only reads ({why}). Point DATABASE_URL at the server that writes, or let this one write.",
    "40001": "Other work on the same rows was in the way ({why}). Try again.",
    "40P01": "Other work on the same rows was in the way ({why}). Try again.",
    "53100": "The disk of the database is full ({why}). Free some space there.",
    "53200": "The database is out of memory ({why}). Give its machine more, or lower its work_mem.",
    "53300": "The database has no connection left for us ({why}). Raise its max_connections, or lower DB_POOL_SIZE and "
    "DB_MAX_OVERFLOW.",
    "55P03": "Other work held what was needed for too long ({why}). Try again.",
    "57014": "The database did not answer in time ({why}). It is busy, or much was asked of it. Try again.",
    "57P01": "The database is stopped, or has cut us off ({why}). Try again.",
    "57P02": "The database has crashed and puts itself in order ({why}). Try again.",
    "57P03": "The database starts or stops at this moment ({why}). Try again.",
}
_ONLY_READS = "25006"
_GOES = ("57P01", "57P02", "57P03")
_NOT_MIGRATED = ("42P01", "42703")  # undefined_table, undefined_column

_OF_THE_SERVER = (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def fault_of(error: BaseException, line: Line, *, reading: bool) -> DatabaseUnavailable | None:
    """What an error in the middle of the work comes to; None for one that is the work's own.

    line    : that the work went over
    reading : whether the work was not to write, so that being refused to is its own fault
    """
    if not isinstance(error, _OF_THE_SERVER):
        return None
    why, state = _first_line(error), _state_of(error)
    if line.hung_up:
        return DatabaseUnavailable("The database did not answer in time, so we hung up. It is away, or very busy.")
    cut = line.is_closed() or state in _GOES
    if state in _MEANS and not (reading and state == _ONLY_READS):
        return DatabaseUnavailable(_MEANS[state].format(why=why), cut=cut)
    if cut:
        return DatabaseUnavailable(f"The database went away in the middle of the work ({why}). Try again.", cut=True)
    return None


def not_migrated(error: BaseException) -> DatabaseUnavailable | None:
    """What a table or column that is not there comes to while serving, which begins before migrating has ended."""
    if _state_of(error) not in _NOT_MIGRATED:
        return None
    return DatabaseUnavailable(f"The database is not in the expected shape ({_first_line(error)}). Migrate it.")


def only_reads(error: BaseException) -> bool:
    """Whether the server refused to write."""
    return _state_of(error) == _ONLY_READS


def not_connected(error: BaseException) -> DatabaseUnavailable:
    """What an error while connecting comes to."""
    why, state = _first_line(error), _state_of(error)
    return DatabaseUnavailable(
        _MEANS[state].format(why=why)
        if state in _MEANS
        else f"The database does not answer ({why}). Check DATABASE_URL and that the server is up."
    )


def _first_line(error: BaseException) -> str:
    """Of what the driver says."""
    original = getattr(error, "orig", None) or error
    return (str(original).splitlines() or [type(original).__name__])[0]


def _state_of(error: BaseException) -> str | None:
    original = getattr(error, "orig", None) or error
    state: str | None = getattr(original, "sqlstate", None)
    return state
