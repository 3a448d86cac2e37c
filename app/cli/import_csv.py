"""`import csv`: a shop's file in."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from app.cli.options import Commands, add_store, store_of
from app.cli.output import progress, say, show_table
from app.core.config import Settings
from app.core.secrets_file import id_hash_secret
from app.pipeline.ingest import IngestReport, ingest
from app.resources import open_database
from app.sources.csv_file import CsvSource
from app.sources.csv_presets import PRESETS
from app.warehouse.migrate import migrate
from app.warehouse.stores import timezone_of

_REJECTED_SHOWN = 20


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    importing = commands.add_parser("import", help="bring in a shop's records")
    kinds = importing.add_subparsers(title="sources", required=True, metavar="SOURCE")
    csv = kinds.add_parser(
        "csv",
        parents=[shared],
        help="from CSV files, .gz too",
        description="Read CSV files into a store. Reading the same file again changes nothing.",
    )
    csv.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    add_store(csv)
    csv.add_argument("--preset", choices=PRESETS, default="transactions", help="what the columns mean (%(default)s)")
    csv.add_argument(
        "--map",
        nargs="+",
        action="extend",
        default=[],
        metavar="field=column",
        help="which column holds a field, as in customer_id=Client order_date=Date",
    )
    csv.add_argument("--strict", action="store_true", help="stop at the first bad row and keep nothing")
    csv.add_argument("--dry-run", action="store_true", help="do all of it, report, and keep nothing")
    csv.set_defaults(run=_run, parser=csv)


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    store_id = store_of(wanted, settings)
    mapping = _mapping(wanted)
    async with open_database(settings) as database:
        await migrate(database)
        timezone = await timezone_of(database, store_id) or settings.store_timezone
        source = CsvSource(
            wanted.paths, preset=wanted.preset, mapping=mapping, store_timezone=timezone, strict=wanted.strict
        )
        with progress() as listener:
            report = await ingest(
                database,
                source,
                store_id=store_id,
                timezone=timezone,
                currency=settings.currency,
                pseudonym_secret=id_hash_secret(settings),
                dry_run=wanted.dry_run,
                progress=listener,
            )
    show_import(report)
    return 0


def _mapping(wanted: argparse.Namespace) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in wanted.map]
    for field, sign, column in pairs:
        if not (field and sign and column):
            wanted.parser.error(
                f"--map takes field=column pairs, as in customer_id=Client; '{field}{sign}{column}' is none"
            )
    return {field: column for field, _, column in pairs}


def show_import(report: IngestReport) -> None:
    """The table at the end of an import: where every row went, and its money."""
    account, currency = report.account, report.store.currency
    say()
    rows: list[tuple[object, ...]] = [("read", account.read.rows, account.read.money)]
    rows += [(f"taken as {kind}", tally.rows, tally.money) for kind, tally in sorted(account.taken.items())]
    rows += [(f"left out: {rule}", tally.rows, tally.money) for rule, tally in sorted(account.set_aside.items())]
    if account.n_rejected:
        rows.append(("rejected", account.n_rejected, account.rejected_money))
    show_table("Rows", ("", "rows", currency), rows)
    any_erased = any(each.erased for each in report.merged)
    show_table(
        f"Store '{report.store.store_id}'" + (" (dry run: nothing kept)" if report.dry_run else ""),
        ("", "in the file", "loaded", "updated", "unchanged", *(["left out: erased"] if any_erased else [])),
        [
            (
                *(each.table, each.staged, each.inserted, each.updated, each.unchanged),
                *([each.erased] if any_erased else []),
            )
            for each in report.merged
        ],
    )
    if report.repeated_lines:
        say(f"{report.repeated_lines:,} lines repeat one of their order in product, quantity and price; each is kept.")
    if report.returns_untold:
        say(
            f"{report.returns_matched:,} of {report.returns_untold:,} refunds that do not say which line they undo "
            "were matched to the purchase they undo."
        )
    say(
        f"The store now holds {report.paid:,.2f} {currency} paid, {report.refunded:,.2f} given back, "
        f"{report.paid - report.refunded:,.2f} net."
    )
    for note in account.notes:
        say(f"Note: {note}")
    for rejected in account.rejected[:_REJECTED_SHOWN]:
        say(f"{rejected.file}, row {rejected.row}, {rejected.column}: {rejected.value!r}: {rejected.reason}")
    if account.n_rejected > _REJECTED_SHOWN:
        say(f"... and {account.n_rejected - _REJECTED_SHOWN:,} more bad rows.")
