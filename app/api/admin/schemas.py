"""What is asked and said of runs, jobs, keys, the audit log and what is kept."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.core.keys import Scope
from app.core.schemas import Answer
from app.pipeline.run import MIN_POPULATION
from app.segmentation.clustering import MOST_SEGMENTS
from app.warehouse.jobs import Job, JobState

_MOST_SAMPLED = 100_000_000
_RunState = Literal["queued", "running", "published", "failed"]
_K = Annotated[int, Field(strict=True, ge=2, le=MOST_SEGMENTS)]


class Discovery(Answer):
    """How segments are to be found; what is left out is as on the command line."""

    sample_size: Annotated[int, Field(strict=True, ge=MIN_POPULATION, le=_MOST_SAMPLED)] | None = Field(
        default=None, description="Fit the clusters on this many customers; everyone is placed."
    )
    min_k: _K | None = Field(default=None, description="Fewest segments to try on an axis.")
    max_k: _K | None = Field(default=None, description="Most segments to try on an axis.")

    @model_validator(mode="after")
    def _in_order(self) -> "Discovery":
        if self.min_k is not None and self.max_k is not None and self.min_k > self.max_k:
            raise ValueError("min_k is more than max_k; swap them")
        return self


class Accepted(Answer):
    """A run that a worker is going to begin."""

    run_id: int
    job_id: int
    status: Literal["queued"] = "queued"
    status_url: str = Field(description="Where to see how far it is.", examples=["/api/admin/cluster/status?run_id=7"])


class ServedRun(Answer):
    """What answers come from at the moment."""

    run_id: int
    kind: Literal["discovery", "rescoring"]
    as_of: str


class RunStatus(Answer):
    """A run, and what is served meanwhile. Times are UTC."""

    run_id: int
    kind: Literal["discovery", "rescoring"]
    status: _RunState
    as_of: str | None = Field(description="Only records before this moment count; null until it is published.")
    started_at: str | None = Field(description="Null while it is queued.")
    finished_at: str | None
    step: str | None = Field(description="What it is at; null unless it is running.")
    progress: float = Field(ge=0, le=1, description="Roughly how much of the time it takes is over.")
    seconds: float | None = Field(description="How long it took, or has taken so far.")
    n_customers: int | None = Field(description="Whom it placed; null until it is published.")
    failure: str | None = Field(description="Why it failed.")
    served: ServedRun | None = Field(description="Null before a first run has been published.")


class JobStatus(Answer):
    """A job, and how it stands: waiting, running, failed (held until it is tried again) or done."""

    job_id: int
    job: Job
    status: JobState
    parameters: dict[str, Any]
    asked_at: str
    started_at: str | None = Field(description="When it was last begun.")
    finished_at: str | None
    next_try_at: str | None = Field(description="Of one that waits to be tried again.")
    retries: int = Field(description="How often it was begun anew since it was asked for or replayed.")
    failure: str | None = Field(description="Why it failed, or is to be tried again.")


class NewKey(Answer):
    """A key to be made, for the store of the key it is asked with."""

    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] = Field(
        description="What it may be used for. support sees identities, analytics and campaigns pseudonyms, privacy "
        "exports and erases, admin may do everything."
    )
    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = Field(
        default="", description="What it is for, in your words."
    )
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=3_650)] | None = Field(
        default=None, description="After how many days it opens nothing more; never without it."
    )


class Rotation(Answer):
    """How a key is to be replaced."""

    overlap_hours: Annotated[int, Field(strict=True, ge=0, le=24 * 90)] = Field(
        default=24, description="How long the old one goes on opening, so that who uses it can change to the new one."
    )


class ApiKey(Answer):
    """What is known of a key: everything but the key. Times are UTC."""

    key_id: str = Field(description="Its public part; names it in lists, opens nothing.")
    name: str
    scopes: list[Scope]
    status: Literal["live", "expired", "revoked"]
    created_at: str
    expires_at: str | None = Field(description="Null where it does not expire.")
    last_used_at: str | None = Field(description="To the minute; null where it never was.")
    revoked_at: str | None


class MadeKey(ApiKey):
    """A new key, shown this once."""

    key: str = Field(description="The key itself. Only a digest of it is kept: note it now.")
    replaces: str | None = Field(description="The key it is to take the place of.")


class Keys(Answer):
    """The oldest first, those revoked or expired too."""

    keys: list[ApiKey]


class AuditEntry(Answer):
    at: str
    key_id: str = Field(description="The key it was done with; API_KEY or ADMIN_KEY of those of the settings.")
    action: str = Field(description="customer.read, customers.search, key.create, ...")
    request_id: str | None = Field(description="Names the request in the logs; null for the command line.")
    subjects: list[str] = Field(description="Pseudonyms of the customers it was about, but for those erased since.")
    object: str | None = Field(description="What else it was about: a key, a job, a run, a receipt.")


class AuditLog(Answer):
    """Who has changed something, and who has seen identities. The latest first."""

    entries: list[AuditEntry]
    next_cursor: str | None


class Flushed(Answer):
    """What was kept to answer faster is forgotten, and read anew when it is next asked for."""

    profiles: int = Field(description="Profiles this process had kept.")
    redis: bool = Field(description="Whether answers shared through Redis are dropped as well.")


class Jobs(Answer):
    """The latest first."""

    jobs: list[JobStatus]
    next_cursor: str | None
