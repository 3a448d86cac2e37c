"""How many customers keep their segment when a shop is segmented anew: the promise, and who falls short of it."""

from collections.abc import Mapping

#: Of customers, on every axis with structure, who keep the id of their segment at least.
ANOTHER_SEED, OTHER_CUSTOMERS = 0.95, 0.90


def short_of(stays: Mapping[str, float], least: float) -> dict[str, float]:
    assert stays
    return {axis: round(share, 3) for axis, share in stays.items() if share < least}
