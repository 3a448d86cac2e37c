"""How far a shop has moved between two days: the shares of an axis's segments, and who went from group to group.

A discovery between the two days redraws the groups. Who is then counted elsewhere because a group was split, merged,
retired or born has not moved; the lineage of the discoveries in between (`segmentation.identity`) says who that is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from app.core.errors import InvalidInput
from app.segmentation.membership import Array

#: What a share counts as at least, or one segment that nobody is in would make any shift infinite.
LEAST_SHARE = 1e-4


def psi(now: Array, then: Array) -> float:
    """Population stability index of two distributions over the same segments: sum((p - q) * ln(p / q)).

    now, then : (n_segments,) shares, or counts, which are made shares of their sum; the same segment at each position
    returns   : >= 0, and 0 where all shares are the same; shares under LEAST_SHARE count as that. Above .1 a shift is
                usually called moderate, above .25 large.

    Raises InvalidInput where a number is negative or not finite, or nobody is in any segment.
    """
    p, q = (_shares(each) for each in (now, then))
    if p.shape != q.shape:
        raise InvalidInput(f"A shift is of the same segments on two days, not of {len(p)} and {len(q)}.")
    return float(((p - q) * np.log(p / q)).sum())


def _shares(weights: Array) -> Array:
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InvalidInput("The shares of segments must be finite, none below 0, and not all 0.")
    shares: Array = np.maximum(weights / weights.sum(), LEAST_SHARE)
    return shares


class Move(Enum):
    """What became of a customer between two days."""

    stayed = "stayed"
    migrated = "migrated"
    by_discovery = "by_discovery"


@dataclass(frozen=True, slots=True)
class Discovered:
    """One discovery's lineage. before : the discovery whose rules were served; steps : (id before, id now), None at
    an end for a group that is retired or born
    """

    before: int | None
    steps: Sequence[tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class Kinship:
    """How the groups of one day are those of a later one.

    same  : both days went by the same rules
    heirs : group then -> the groups it goes on as, none for one that is retired; None where that is not known
    known : the groups now that go on from one there was then
    """

    same: bool
    heirs: Mapping[str, frozenset[str]] | None = None
    known: frozenset[str] = frozenset()

    def move(self, before: str, now: str) -> Move:
        """Of a customer who was in one group and is in another, or in the same.

        By discovery is who followed a group into what it was split or merged into, whose group is retired, who is in
        one that none goes on as, and everyone elsewhere where the lineage is not known.
        """
        if before == now:
            return Move.stayed
        if self.same:
            return Move.migrated
        if self.heirs is None or now not in self.known:
            return Move.by_discovery
        heirs = self.heirs.get(before, frozenset())
        return Move.by_discovery if not heirs or now in heirs else Move.migrated


def kinship(lineage: Mapping[int, Discovered], *, before: int, now: int) -> Kinship:
    """Between the rules of two discoveries. lineage : by discovery, at least of those after `before` up to `now`"""
    if before == now:
        return Kinship(same=True)
    path: list[Discovered] = []
    at: int | None = now
    while at != before:
        step = lineage.get(at) if at is not None else None
        # Lineage leads back: to an earlier discovery, or it is not what it says.
        if step is None or at is None or (step.before is not None and step.before >= at):
            return Kinship(same=False)
        path.append(step)
        at = step.before
    heirs: dict[str, frozenset[str]] = {}
    for number, step in enumerate(reversed(path)):
        onward: defaultdict[str, set[str]] = defaultdict(set)
        for one, other in step.steps:
            if one is not None:
                onward[one] |= {other} if other is not None else set()
        if number == 0:
            heirs = {one: frozenset(others) for one, others in onward.items()}
        else:
            heirs = {
                one: frozenset(further for other in others for further in onward.get(other, ()))
                for one, others in heirs.items()
            }
    return Kinship(same=False, heirs=heirs, known=frozenset(other for others in heirs.values() for other in others))


@dataclass(frozen=True, slots=True)
class Flow:
    """Customers who were in one group and are in another, or in the same."""

    before: str
    now: str
    count: int
    move: Move


@dataclass(frozen=True, slots=True)
class Movement:
    """Everyone of two days. flows : the largest first; new, gone : customers of one of the days alone"""

    flows: tuple[Flow, ...]
    new: int
    gone: int

    @property
    def compared(self) -> int:
        """Customers of both days."""
        return sum(flow.count for flow in self.flows)

    def count(self, move: Move) -> int:
        return sum(flow.count for flow in self.flows if flow.move is move)

    def share(self, move: Move) -> float:
        """Of the customers of both days, 0..1; 0 where there are none."""
        return self.count(move) / self.compared if self.compared else 0.0

    def velocity(self, days: int) -> float:
        """Share of customers who migrate in a day, on average of the days between."""
        return self.share(Move.migrated) / days


def movement(counts: Iterable[tuple[str | None, str | None, int]], kin: Kinship) -> Movement:
    """counts : (group then, group now, customers), None for the day on which they were not there"""
    told = [(before, now, count) for before, now, count in counts if count]
    flows = [
        Flow(before, now, count, kin.move(before, now))
        for before, now, count in told
        if before is not None and now is not None
    ]
    return Movement(
        flows=tuple(sorted(flows, key=lambda flow: (-flow.count, flow.before, flow.now))),
        new=sum(count for before, now, count in told if before is None and now is not None),
        gone=sum(count for before, now, count in told if before is not None and now is None),
    )
