"""How often a key may ask, and how often an address may ask without one that is valid (of IPv6, all that begin alike).

Counted by each process for itself: with several of them a key may ask as many times more often, at most.
"""

from ipaddress import IPv6Address, ip_address
from time import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.core.errors import TooManyFailures, TooManyRequests
from app.core.keys import Caller
from app.core.metrics import REFUSED

#: Customers drawn by chance for a key that may not see identities: enough to look around, too few to list everyone.
_DRAWN = RateLimitItemPerMinute(60)
#: Exports of everything held of a person: more than people ask for, and too few to carry a shop away.
_EXPORTS = RateLimitItemPerMinute(30)


class Limits:
    """per_minute : requests of one key; failures : requests without a valid key, from one address; 0 for no limit"""

    def __init__(self, per_minute: int, *, failures: int) -> None:
        self._per_minute = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._failures = RateLimitItemPerMinute(failures) if failures else None
        self._counted = SlidingWindowCounterRateLimiter(MemoryStorage())

    def admit(self, caller: Caller) -> None:
        """Count a request. Raises TooManyRequests."""
        if self._per_minute is not None:
            self._must(self._per_minute, "asked", caller)

    def draw(self, caller: Caller) -> None:
        """Count a customer drawn by chance. Raises TooManyRequests."""
        if not caller.identified:
            self._must(_DRAWN, "drawn a customer", caller)

    def export(self, caller: Caller) -> None:
        """Count an export of everything held of somebody. Raises TooManyRequests."""
        self._must(_EXPORTS, "exported a person", caller)

    def failed(self, address: str) -> None:
        """Count a request without a valid key. Raises TooManyFailures where there were too many."""
        network = _network_of(address)
        if self._failures is not None and not self._counted.hit(self._failures, "failed", network):
            REFUSED.labels("address_blocked").inc()
            raise TooManyFailures(retry_after_seconds=self._wait(self._failures, "failed", network))
        REFUSED.labels("no_key").inc()

    def _must(self, item: RateLimitItemPerMinute, what: str, caller: Caller) -> None:
        of = (what, caller.store_id, caller.key_id)
        if not self._counted.hit(item, *of):
            REFUSED.labels("rate").inc()
            raise TooManyRequests(what, most=item.amount, retry_after_seconds=self._wait(item, *of))

    def _wait(self, item: RateLimitItemPerMinute, *of: str) -> int:
        return max(1, round(self._counted.get_window_stats(item, *of).reset_time - time()))


def _network_of(address: str) -> str:
    """Whoever has an IPv6 address has at least 2**64 of them, all with the same first half: they count as one."""
    try:
        told = ip_address(address)
    except ValueError:
        return address
    if not isinstance(told, IPv6Address):
        return address
    return str(told.ipv4_mapped or told.packed[:8].hex())
