"""`keys`: API keys made, listed and revoked."""

import argparse

from app.cli.options import Commands, add_store, store_of
from app.cli.output import say, show_table
from app.core.config import Settings
from app.core.keys import Scope, hash_key, new_key
from app.resources import open_database
from app.warehouse.keys import StoredKey, add_key, list_keys, revoke_key
from app.warehouse.migrate import migrate

_LONGEST_NAME = 100


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    keys = commands.add_parser("keys", help="make, list and revoke API keys")
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
    add_store(create)
    create.set_defaults(run=_create)

    kinds.add_parser("list", parents=[shared], help="list keys, revoked ones too").set_defaults(run=_list)

    revoke = kinds.add_parser("revoke", parents=[shared], help="refuse a key from now on")
    revoke.add_argument("key_id", metavar="KEY_ID", help="as `keys list` shows it")
    revoke.set_defaults(run=_revoke)


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a name has at most {_LONGEST_NAME} characters, on one line")
    return text


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
            )
    say(f"Key {key_id} of store '{store_id}' with scope {', '.join(scopes)}. It is shown this once; note it now:")
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
    show_table("Keys", ("id", "store", "scopes", "name", "made", "revoked"), [_row(key) for key in found], left=6)
    return 0


def _row(key: StoredKey) -> tuple[object, ...]:
    revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M} UTC"
    made = f"{key.created_at:%Y-%m-%d %H:%M} UTC"
    return (key.key_id, key.store_id, ", ".join(key.scopes), key.name, made, revoked)


async def _revoke(wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        async with database.transaction() as connection:
            newly = await revoke_key(connection, wanted.key_id)
    say(f"Key {wanted.key_id} is revoked." if newly else f"Key {wanted.key_id} was revoked before.")
    return 0
