"""The error tree is what its page says."""

import inspect
import re
from datetime import UTC, datetime

from app.core import errors
from app.core.errors import AppError, NotEnoughCustomers, RunInProgress, StoreNotFound


def test_every_error_stands_in_the_tree_at_the_top_of_the_file_and_no_other() -> None:
    classes = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AppError)}
    drawn = set(re.findall(r"^ {4}[│├└─ ]*([A-Z][A-Za-z]+)", errors.__doc__ or "", flags=re.MULTILINE))
    assert drawn == classes


DAY = datetime(2024, 1, 1, tzinfo=UTC)


def test_messages_say_what_to_do() -> None:
    assert "--min-population 12" in str(NotEnoughCustomers(found=12, needed=100, store_id="uk", as_of=DAY))
    assert "later day" in str(NotEnoughCustomers(found=0, needed=100, store_id="uk", as_of=DAY))
    assert "There are: a, b." in str(StoreNotFound("c", known=["a", "b"]))
    assert "run 7" in str(RunInProgress(store_id="uk", run_id=7))
