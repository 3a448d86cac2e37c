"""What is asked and said of one person's data."""

from typing import Any

from pydantic import Field, model_validator

from app.api.parameters import Something
from app.core.schemas import Answer
from app.warehouse.erasures import State


class Whom(Answer):
    """One customer by their id, or all who share an e-mail address: one of the two."""

    customer_id: Something | None = Field(
        default=None, description="The shop's own id of the customer, or the pseudonym.", examples=["C0000001"]
    )
    email: Something | None = Field(default=None, description="Large and small letters are the same.", examples=[None])

    @model_validator(mode="after")
    def _one(self) -> "Whom":
        if (self.customer_id is None) == (self.email is None):
            raise ValueError("give customer_id or email, and not both")
        return self


class HeldTable(Answer):
    """What one table holds of a person. Amounts are text, exact; times are UTC."""

    table: str
    about: str = Field(description="What the table is.")
    columns: dict[str, str] = Field(description="What each column says.")
    rows: list[dict[str, Any]]


class Person(Answer):
    """Everything that is held of one person; tables that hold nothing are there too."""

    customer_id: str
    tables: list[HeldTable]


class Export(Answer):
    """Several people share an e-mail address now and then; each is by themselves."""

    store_id: str
    exported_at: str
    people: list[Person]


class Receipt(Answer):
    """Of one erasure. It does not say of whom: whoever asks for it knows, and nobody else is to."""

    receipt_id: str
    state: State = Field(
        description="`requested`: nobody brings them back any more, and what is held goes within minutes; `done`: gone."
    )
    requested_at: str
    done_at: str | None
    requested_by: str = Field(description="The public id of the key that asked, or `command line`.")
    rows: dict[str, int] = Field(description="Removed or emptied, by table.")


class Erased(Answer):
    """One receipt for each person; of who was erased before, the one from then."""

    receipts: list[Receipt]


class Receipts(Answer):
    """The latest first."""

    receipts: list[Receipt]
    next_cursor: str | None
