"""API keys, what they open, and the pseudonyms shown to those who may not see ids. Pure: nothing is stored here."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may be used for. admin satisfies any."""

    support = "support"
    analytics = "analytics"
    campaigns = "campaigns"
    privacy = "privacy"
    admin = "admin"


class View(StrEnum):
    """How customers are shown: identified with names and the shop's ids, pseudonymous without either and uncounted."""

    identified = "identified"
    pseudonymous = "pseudonymous"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, known by their key.

    store_id : the one store the key opens
    key_id   : the key's public id; the setting's name of a key of the settings
    """

    store_id: str
    scopes: frozenset[Scope]
    key_id: str

    @property
    def view(self) -> View:
        return View.pseudonymous if self.scopes.isdisjoint(_SEE_IDENTITIES) else View.identified

    @property
    def identified(self) -> bool:
        return self.view is View.identified

    def may(self, needed: Iterable[Scope]) -> bool:
        """Whether one of the scopes held is among those needed."""
        return Scope.admin in self.scopes or not self.scopes.isdisjoint(needed)


_SEE_IDENTITIES = frozenset({Scope.support, Scope.admin})

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH, _SECRET_LENGTH = 8, 43  # 43 of 62 signs are 256 bits
_KEY = re.compile(rb"ci_live_([0-9A-Za-z]{8})_[0-9A-Za-z]{32,128}")

_PSEUDONYM = re.compile(r"C-[0-9A-F]{8,64}")
SHORTEST_PSEUDONYM, LONGEST_PSEUDONYM = 8, 64

#: Values people leave in from an example.
_PLACEHOLDERS = frozenset(
    {
        *("changeme", "change-me", "change_me", "changethis", "change-this", "replace-me", "replaceme", "todo"),
        *("secret", "your-secret", "your-secret-key", "your-secret-api-key", "your-secret-api-key-here"),
        *("key", "your-key", "your-key-here", "your-api-key", "your-api-key-here", "api-key", "apikey", "api_key"),
        *("admin", "your-admin-key", "your-admin-key-here", "your-secret-admin-key", "admin-key", "admin_key"),
        *("your-secret-admin-key-here", "your_api_key", "your_admin_key", "your_api_key_here", "your_admin_key_here"),
        *("password", "example", "placeholder", "default", "xxx", "none", "null", "dev", "development"),
    }
)


def new_key() -> tuple[str, str]:
    """A new key's public id and the key itself."""
    key_id = "".join(secrets.choice(_BASE62) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_BASE62) for _ in range(_SECRET_LENGTH))
    return key_id, f"ci_live_{key_id}_{secret}"


def key_id_of(presented: bytes) -> str | None:
    """The public id within a key; None where it is no key of our making."""
    found = _KEY.fullmatch(presented)
    return found[1].decode() if found else None


def hash_key(key: bytes) -> str:
    """What is stored of a key: SHA-256 in hex. A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(key).hexdigest()


def same_key(presented: bytes, secret_hash: str) -> bool:
    """Whether it is the key with that hash, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(hash_key(presented), secret_hash)


def is_placeholder(key: str) -> bool:
    """Whether a key is an example's, which anyone may know."""
    return key.casefold().strip("<>") in _PLACEHOLDERS


class BootstrapKeys:
    """The keys of the settings: they need no database."""

    def __init__(self, keys: Sequence[tuple[str, Caller]]) -> None:
        self._callers = [(hash_key(key.encode()), caller) for key, caller in keys]

    def caller(self, presented: bytes) -> Caller | None:
        found = None
        digest = hash_key(presented)
        for known, caller in self._callers:  # all of them, whichever it is
            if hmac.compare_digest(digest, known):
                found = caller
        return found


def pseudonym(secret: bytes, *, store_id: str, customer_id: str, digits: int = SHORTEST_PSEUDONYM) -> str:
    """What a customer is called where ids may not be shown, such as C-5A3B2F18.

    digits : 8 to 64; more where eight would name two customers
    """
    told = f"customer:v1:{store_id}:{customer_id}".encode()
    return "C-" + hmac.digest(secret, told, "sha256").hex().upper()[:digits]


def is_pseudonym(text: str) -> bool:
    return _PSEUDONYM.fullmatch(text) is not None


def tombstone(secret: bytes, *, store_id: str, customer_id: str) -> str:
    """What is kept of an erased customer: enough to know the id if it comes again, and without the secret nothing."""
    return hmac.digest(secret, f"erased:v1:{store_id}:{customer_id}".encode(), "sha256").hex()
