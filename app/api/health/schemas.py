"""What is said of the service itself."""

from typing import Literal

from pydantic import Field

from app.core.schemas import Answer


class Alive(Answer):
    status: Literal["ok"] = "ok"


class PredictionStatus(Answer):
    """What is predicted. Customers are counted for keys that may see identities."""

    as_of: str = Field(description="Only what happened before this moment was learned from, UTC.")
    prediction_id: int
    n: int | None = Field(description="Customers of whom something is predicted.")


class DataStatus(Answer):
    """How much there is in the key's store. Customers are counted for keys that may see identities."""

    customers_loaded: int | None
    customers_segmented: int | None
    archetypes_available: int
    predictions: PredictionStatus | None = Field(description="Null until predictions are published.")


class JobCounts(Answer):
    """Of the key's store. Failed ones are held until somebody has them tried again."""

    waiting: int
    running: int
    failed: int
    worker_seen_at: str | None = Field(
        description="When a worker last looked, which it does every minute, UTC; null before the first one has. Where "
        "that is long ago, none runs."
    )


class Health(Answer):
    """Without a valid key only the first three."""

    status: Literal["healthy", "degraded"] = Field(
        description="degraded: everything is answered, but Redis is away, and each process keeps its own answers."
    )
    version: str
    timestamp: str = Field(examples=["2026-11-21T14:13:07+00:00"])
    database: Literal["connected"] | None = None
    cache: Literal["redis", "memory", "degraded", "off"] | None = Field(
        default=None, description="Where answers are kept; degraded: in each process, until Redis is back."
    )
    data_source: Literal["embedded", "postgresql"] | None = None
    active_axes: int | None = Field(default=None, description="Axes of the served segmentation that have data.")
    axes: dict[str, str] | None = Field(default=None, description="{axis: active, proxy or no_data}.")
    data_status: DataStatus | None = None
    jobs: JobCounts | None = None
