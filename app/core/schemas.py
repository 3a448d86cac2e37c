"""The model that everything sent and received over HTTP is built on."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Strict: no field that is not declared, no number that JSON does not have."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)
