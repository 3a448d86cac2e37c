"""`backup` and `restore`: all that is needed to give the same answers elsewhere, in one file."""

import argparse
from pathlib import Path

from app.cli.options import Commands
from app.cli.output import progress, say
from app.core.backup_file import reading
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.files import check_writable
from app.pipeline.backup import back_up, restore
from app.resources import open_database

_WARNING = (
    "THE FILE IS SECRET: it holds every customer's data and the secrets that were made up in DATA_DIR. Only its owner "
    "may read it; encrypt it before it leaves the machine."
)


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    backing_up = commands.add_parser(
        "backup",
        parents=[shared],
        help="write everything into one file (which is secret)",
        description="Write the database, embedded or of DATABASE_URL, as it is at one moment, and the secrets that "
        f"were made up in DATA_DIR. The service may go on meanwhile. {_WARNING}",
    )
    backing_up.add_argument("--out", type=Path, required=True, metavar="FILE")
    backing_up.set_defaults(run=_backup)

    restoring = commands.add_parser(
        "restore",
        parents=[shared],
        help="put a backup into an empty database",
        description="Put a backup into an empty database, embedded or of DATABASE_URL and of any version that is "
        "served, and its secrets into DATA_DIR; all of it or nothing. Stop the service that uses them before.",
    )
    restoring.add_argument("file", type=Path, metavar="FILE", help="what `backup` has written")
    restoring.set_defaults(run=_restore)


async def _backup(wanted: argparse.Namespace, settings: Settings) -> int:
    check_writable(wanted.out)
    async with open_database(settings) as database:
        with progress() as listener:
            manifest = await back_up(database, settings, wanted.out, now=utc_now(), progress=listener)
    say(
        f"{manifest.n_rows:,} rows of {len(manifest.tables)} tables, at revision {manifest.revision}, written to "
        f"{wanted.out}. It holds every customer's data and secrets: keep it as you keep those."
    )
    return 0


async def _restore(wanted: argparse.Namespace, settings: Settings) -> int:
    # Before the database is opened, which makes one where there is none.
    with reading(wanted.file) as backup:
        async with open_database(settings) as database:
            with progress() as listener:
                left_out = await restore(database, settings, backup, progress=listener)
        manifest = backup.manifest
    say(
        f"{manifest.n_rows:,} rows of {len(manifest.tables)} tables restored, as they were on "
        f"{manifest.made_at:%Y-%m-%d %H:%M} UTC."
    )
    if left_out:
        say(f"Left out, for they are not the service's: {', '.join(left_out)}.")
    return 0
