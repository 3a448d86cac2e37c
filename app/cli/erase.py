"""`erase`: one person, out of every table."""

import argparse

from app.cli.noting import noted
from app.cli.options import COMMAND_LINE, Commands, add_store, store_of
from app.cli.output import complain, say, show_table
from app.core.config import Settings
from app.core.secrets_file import id_hash_secret
from app.pipeline.erasing import erase
from app.resources import open_database
from app.warehouse.erasures import Receipt, State
from app.warehouse.migrate import migrate

_PATIENCE_SECONDS = 60.0


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    erasing = commands.add_parser(
        "erase",
        parents=[shared],
        help="erase one person",
        description="Remove a customer from every table, for good: an import that brings their records again leaves "
        "them out, as long as ID_HASH_SECRET stays what it is. Erasing again changes nothing.",
    )
    erasing.add_argument("customer_id", metavar="CUSTOMER_ID", help="the shop's own id, or the pseudonym")
    add_store(erasing)
    erasing.set_defaults(run=_run)


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    store_id = store_of(wanted, settings)
    async with open_database(settings) as database:
        await migrate(database)
        (receipt,) = await erase(
            database,
            store_id,
            customer_id=wanted.customer_id,
            secret=id_hash_secret(settings),
            by=COMMAND_LINE,
            noted=lambda receipt_id: noted(store_id, "person.erase", about=receipt_id),
            patience_seconds=_PATIENCE_SECONDS,
        )
    _show(receipt)
    if receipt.state is State.done:
        return 0
    complain(
        f"Not erased yet: an import or a run of store '{receipt.store_id}' is under way. Nobody brings them back any "
        "more, and a worker removes what is held as soon as that has ended; or run this again then."
    )
    return 1


def _show(receipt: Receipt) -> None:
    done = "-" if receipt.done_at is None else f"{receipt.done_at:%Y-%m-%d %H:%M:%S} UTC"
    facts = [
        ("receipt", receipt.receipt_id),
        ("store", receipt.store_id),
        ("state", receipt.state.value),
        ("requested", f"{receipt.requested_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("done", done),
        ("requested by", receipt.requested_by),
    ]
    show_table("Receipt", ("", ""), facts, left=2)
    if receipt.rows:
        show_table("Removed", ("table", "rows"), sorted(receipt.rows.items()))
    say("Keep the receipt if you must prove it: it says nothing of who it was.")
