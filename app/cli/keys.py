"""`keys`: API keys made, listed, replaced and revoked."""

import argparse
from datetime import timedelta

from app.cli.noting import noted
from app.cli.options import Commands, add_store, store_of
from app.cli.output import say, show_table
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.keys import Scope, hash_key, new_key
from app.resources import open_database
from app.warehouse.audit import write_audit
from app.warehouse.keys import StoredKey, add_key, list_keys, read_key, replace_key, revoke_key
from app.warehouse.migrate import migrate

_LONGEST_NAME = 100


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    keys = commands.add_parser("keys", help="make, list, replace and revoke API keys")
    kinds = keys.add_subparsers(title="what", required=True, metavar="WHAT")

    create = kinds.add_parser(
        "create",
        parents=[shared],
        help="make a key",
        description="Make a key for one store. It is shown once; only a digest of it is kept.",
    )
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=[scope.value for scope in Scope],
        help="what it may be used for; give several times for several. support sees identities, analytics and "
        "campaigns pseudonyms, admin may do everything",
    )
    create.add_argument("--name", type=_name, default="", help="what it is for, in your words")
    create.add_argument(
        "--expires-in-days", type=_days, metavar="N", help="after how many days it opens nothing more (never)"
    )
    add_store(create)
    create.set_defaults(run=_create)

    kinds.add_parser("list", parents=[shared], help="list keys, revoked ones too").set_defaults(run=_list)

    rotate = kinds.add_parser(
        "rotate",
        parents=[shared],
        help="put a new key in a key's place",
        description="Make a key like another. Both open for a while, so that who uses the old one can change to the "
        "new one; then the new one alone.",
    )
    rotate.add_argument("key_id", metavar="KEY_ID", help="as `keys list` shows it")
    rotate.add_argument(
        "--overlap-hours", type=_hours, default=24, metavar="N", help="how long both open (%(default)s)"
    )
    rotate.set_defaults(run=_rotate)

    revoke = kinds.add_parser("revoke", parents=[shared], help="refuse a key from now on")
    revoke.add_argument("key_id", metavar="KEY_ID", help="as `keys list` shows it")
    revoke.set_defaults(run=_revoke)


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a name has at most {_LONGEST_NAME} characters, on one line")
    return text


def _days(text: str) -> int:
    return _whole(text, most=3_650)


def _hours(text: str) -> int:
    return _whole(text, most=24 * 90, least=0)


def _whole(text: str, *, most: int, least: int = 1) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"a whole number from {least} to {most:,}")
    return int(text)


async def _create(wanted: argparse.Namespace, settings: Settings) -> int:
    key_id, key = new_key()
    scopes = sorted(set(wanted.scope))
    store_id = store_of(wanted, settings)
    async with open_database(settings) as database:
        await migrate(database)
        async with database.transaction() as connection:
            await add_key(
                connection,
                key_id=key_id,
                store_id=store_id,
                name=wanted.name,
                secret_hash=hash_key(key.encode()),
                scopes=scopes,
                expires_at=None
                if wanted.expires_in_days is None
                else utc_now() + timedelta(days=wanted.expires_in_days),
            )
            await write_audit(connection, [noted(store_id, "key.create", about=key_id)])
    say(f"Key {key_id} of store '{store_id}' with scope {', '.join(scopes)}. It is shown this once; note it now:")
    say(key)
    return 0


async def _rotate(wanted: argparse.Namespace, settings: Settings) -> int:
    new_id, key = new_key()
    async with open_database(settings) as database:
        await migrate(database)
        async with database.transaction() as connection:
            old = await replace_key(
                connection,
                wanted.key_id,
                new_id=new_id,
                secret_hash=hash_key(key.encode()),
                overlap=timedelta(hours=wanted.overlap_hours),
                now=utc_now(),
            )
            await write_audit(connection, [noted(old.store_id, "key.rotate", about=f"{old.key_id} by {new_id}")])
    say(
        f"Key {new_id} of store '{old.store_id}' with scope {', '.join(old.scopes)} takes the place of {old.key_id}, "
        f"which opens until {old.expires_at:%Y-%m-%d %H:%M} UTC. It is shown this once; note it now:"
    )
    say(key)
    return 0


async def _list(_wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        async with database.snapshot() as connection:
            found = await list_keys(connection)
    if not found:
        say("No keys yet. Make one with `python -m app keys create --scope support`.")
        return 0
    columns = ("id", "store", "scopes", "name", "made", "last used", "expires", "revoked")
    show_table("Keys", columns, [_row(key) for key in found], left=8)
    return 0


def _row(key: StoredKey) -> tuple[object, ...]:
    moments = (key.created_at, key.last_used_at, key.expires_at, key.revoked_at)
    told = ("" if at is None else f"{at:%Y-%m-%d %H:%M} UTC" for at in moments)
    return (key.key_id, key.store_id, ", ".join(key.scopes), key.name, *told)


async def _revoke(wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        async with database.transaction() as connection:
            newly = await revoke_key(connection, wanted.key_id)
            if newly:
                key = await read_key(connection, wanted.key_id)
                await write_audit(connection, [noted(key.store_id, "key.revoke", about=key.key_id)])
    say(f"Key {wanted.key_id} is revoked." if newly else f"Key {wanted.key_id} was revoked before.")
    return 0
