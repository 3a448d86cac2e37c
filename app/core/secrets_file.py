"""Secrets that are made up once where none is set, and kept in DATA_DIR/secrets.json, readable by its owner alone."""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Environment, Settings
from app.core.errors import ConfigurationError
from app.core.keys import is_placeholder, new_key

_FILE = "secrets.json"


@dataclass(frozen=True, slots=True)
class ServingKeys:
    """The keys that need no database. analytics_key : None in production"""

    api_key: str
    admin_key: str
    analytics_key: str | None


def id_hash_secret(settings: Settings) -> bytes:
    """What pseudonyms are made with: of the settings, or made up once.

    Raises ConfigurationError in production for an example's value.
    """
    if settings.id_hash_secret is not None:
        secret = settings.id_hash_secret.get_secret_value()
        if settings.env is Environment.production and is_placeholder(secret):
            raise ConfigurationError(
                "ID_HASH_SECRET still has an example's value, with which anyone can work out who a pseudonym is. "
                "Set it to a long random value, or leave it unset to have one made up."
            )
        return secret.encode()
    return _kept(settings.data_dir, ["id_hash_secret"])["id_hash_secret"].encode()


def known_id_hash_secret(settings: Settings) -> bytes | None:
    """The same where there is one already; none is made up."""
    if settings.id_hash_secret is not None:
        return settings.id_hash_secret.get_secret_value().encode()
    kept = kept_secrets(settings).get("id_hash_secret")
    return None if kept is None else kept.encode()


def kept_secrets(settings: Settings) -> dict[str, str]:
    """What was made up, but for what the settings give instead."""
    with _explained(settings.data_dir):
        known = _read(settings.data_dir / _FILE)
    return {name: secret for name, secret in known.items() if getattr(settings, name, None) is None}


def check_secrets(data_dir: Path, secrets_of_old: dict[str, str]) -> None:
    """Raises ConfigurationError where others of the same names are kept already: something may depend on them."""
    with _explained(data_dir):
        known = _read(data_dir / _FILE)
    if others := sorted(name for name, secret in secrets_of_old.items() if known.get(name, secret) != secret):
        raise ConfigurationError(
            f"{data_dir / _FILE} holds another {', '.join(others)} than the backup. Set DATA_DIR to a new folder, or "
            "move that file away if nobody needs its keys and pseudonyms any more."
        )


def keep_secrets(data_dir: Path, secrets_of_old: dict[str, str]) -> None:
    """Have these kept, beside what is kept already. Raises ConfigurationError as `check_secrets` does."""
    if not secrets_of_old:
        return
    with _explained(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        with _turn(data_dir):
            check_secrets(data_dir, secrets_of_old)
            _write(data_dir / _FILE, _read(data_dir / _FILE) | secrets_of_old)


def serving_keys(settings: Settings) -> ServingKeys:
    """API_KEY and ADMIN_KEY; in development made up where they are unset.

    Raises ConfigurationError in production for one that is unset, an example's value, or the same as the other.
    """
    given = {
        name: value.get_secret_value()
        for name, value in (("api_key", settings.api_key), ("admin_key", settings.admin_key))
        if value is not None
    }
    if settings.env is Environment.production:
        _check_given(given)
    if given.get("api_key") is not None and given.get("api_key") == given.get("admin_key"):
        raise ConfigurationError("API_KEY and ADMIN_KEY are the same, so whoever reads may do everything. Change one.")
    if settings.env is Environment.production:
        return ServingKeys(**given, analytics_key=None)
    made_up = [name for name in ("api_key", "admin_key", "analytics_key") if name not in given]
    return ServingKeys(**{**_kept(settings.data_dir, made_up), **given})


def _check_given(given: dict[str, str]) -> None:
    for name in ("api_key", "admin_key"):
        if name not in given:
            raise ConfigurationError(
                f"{name.upper()} is unset, and ENV is production. Set it to a long random value "
                '(`python -c "import secrets; print(secrets.token_urlsafe(32))"` prints one), or set ENV=development '
                "to have keys made up."
            )
        if is_placeholder(given[name]):
            raise ConfigurationError(
                f"{name.upper()} still has an example's value, which anyone may know. Set it to a long random value."
            )


def _kept(data_dir: Path, names: Sequence[str]) -> dict[str, str]:
    """The secrets of these names, those that are missing made up. Several processes may ask at once."""
    with _explained(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        with _turn(data_dir):
            path = data_dir / _FILE
            known = _read(path)
            missing = [name for name in names if name not in known]
            if missing:
                known |= {name: new_key()[1] if name.endswith("_key") else secrets.token_hex(32) for name in missing}
                _write(path, known)
            return {name: known[name] for name in names}


@contextmanager
def _explained(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{data_dir / _FILE} cannot be used ({error.strerror or error}). Set DATA_DIR to a folder of your own."
        ) from error


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text())
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(isinstance(value, str) and value for value in known.values()):
        raise ConfigurationError(
            f"{path} is damaged. Restore it from a backup; without it keys and pseudonyms are made anew, so only move "
            "it away if nobody has noted them."
        )
    return known


def _write(path: Path, known: dict[str, str]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    temporary = Path(name)
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123  a descriptor, not a path
            json.dump(known, file, indent=2)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _turn(data_dir: Path) -> Iterator[None]:
    with (data_dir / "secrets.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
