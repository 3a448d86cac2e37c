"""What is asked and said of runs and jobs."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

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


class Jobs(Answer):
    """The latest first."""

    jobs: list[JobStatus]
    next_cursor: str | None
