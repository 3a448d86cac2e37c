"""From dominant segments to kinds of customer.

Level 1 is a signature: dominant segments on the axes that lead. Customers are split by one axis after the other, those
that tell most of what they will do first, and a kind is split by the next axis as long as at least two of its segments
hold customers enough to speak of; who is in a thinner one goes with the segment among those that they belong to most.
So a common kind is told apart on many axes and a rare one on few, and no kind is a handful of people who share a dozen
segments by chance. Level 2 splits level 1 by how clearly its members belong, level 3 by the second segment on the axes
where it is close; both nest in level 1.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.segmentation.membership import Array, is_close, top_two

Codes = NDArray[np.int64]
BANDS = ("core", "typical", "edge")
NONE_CLOSE = -1
#: In a signature, an axis that has no part in it.
ANY = -1
FOLLOWING_TIMES = 4
STAYS, COMES = 0.6, 1.5
_MOST_CODES = 2**62


@dataclass(frozen=True, slots=True)
class Archetypes:
    """Every customer's kind, on three levels. Groups are numbered from 0, level 1 with the most common first.

    signatures    : (n_level1, n_axes) position of the segment on each axis that defines the archetype, ANY on others
    order         : the axes in the order they split by
    level1        : (n_customers,) group on level 1
    fold_distance : (n_customers,) axes on which a customer's own dominant segment differs from the signature's
    level2        : (n_customers,) group on level 2; level2_of (n_level2, 2) its level-1 group and position in BANDS
    level3        : (n_customers,) group on level 3; level3_of (n_level3,) its level-1 group, and
    seconds       : (n_level3, n_axes) position of the second segment, NONE_CLOSE where none is close
    band_limits   : mean top membership from which a customer is typical, and from which core
    least         : members that an archetype of level 1 takes where none is served; see `find_archetypes`
    """

    signatures: Codes
    order: tuple[int, ...]
    level1: Codes
    fold_distance: Codes
    level2: Codes
    level2_of: Codes
    level3: Codes
    level3_of: Codes
    seconds: Codes
    band_limits: tuple[float, float]
    least: int


def least_members(n_customers: int, *, at_least: int) -> int:
    """How many customers a kind takes: a third of the square root of all, so that a larger shop has more kinds and each
    of them more customers.
    """
    return max(at_least, round(math.sqrt(n_customers) / 3))


def find_archetypes(
    memberships: Sequence[Array],
    *,
    min_members: int,
    order: Sequence[int] | None = None,
    leading: int | None = None,
    served: Codes | None = None,
) -> Archetypes:
    """Group customers by signature.

    memberships : one (n_customers, k) array for each axis with structure; with none, all are of one kind
    min_members : a group of any level has as many at least, whatever the number of customers
    order       : the axes by what they tell, first the one to split everyone by; None for the order given
    leading     : so many of them lead; None for all. The others tell less of what customers will do: by them only kinds
                  are split whose parts have FOLLOWING_TIMES as many members
    served      : (n_served, n_axes) the signatures served now, in today's positions; None for none. A part that stood
                  among them stands while it has STAYS times the members a new one takes, and min_members; and one that
                  did not takes COMES times as many, so that kinds do not come and go with a few customers
    """
    if not memberships:
        raise ValueError("find_archetypes needs at least one axis; give a shop without structure one segment for all")
    order = tuple(range(len(memberships)) if order is None else order)
    least = least_members(len(memberships[0]), at_least=min_members)
    signatures, level1 = split(memberships, order, least=least, leading=leading, served=served, fewest=min_members)
    by_size = np.argsort(-np.bincount(level1), kind="stable")
    signatures, level1 = signatures[by_size], np.argsort(by_size)[level1]

    own = np.stack([shares.argmax(axis=1) for shares in memberships], axis=1)
    theirs = signatures[level1]
    clarity = mean_top_membership(memberships)
    lower, upper = np.quantile(clarity, [1 / 3, 2 / 3])
    level2, level2_of = _strength_bands(bands(clarity, (lower, upper)), level1, min_members)
    seconds = defining(close_seconds(memberships), theirs)
    level3, level3_of, seconds = _second_segments(seconds, signatures, level1, min_members)
    return Archetypes(
        signatures=signatures,
        order=order,
        level1=level1,
        fold_distance=differing(own, theirs),
        level2=level2,
        level2_of=level2_of,
        level3=level3,
        level3_of=level3_of,
        seconds=seconds,
        band_limits=(float(lower), float(upper)),
        least=least,
    )


_Prefix = tuple[tuple[int, int], ...]


def _standing(signatures: Codes, order: Sequence[int]) -> dict[_Prefix, frozenset[tuple[int, int]]]:
    """By the splits before it, which parts (axis, segment) every kind was split into."""
    parts: dict[_Prefix, set[tuple[int, int]]] = {}
    for signature in signatures:
        path: _Prefix = ()
        for axis in order:
            if signature[axis] != ANY:
                part = (axis, int(signature[axis]))
                parts.setdefault(path, set()).add(part)
                path = (*path, part)
        parts.setdefault(path, set())
    return {path: frozenset(found) for path, found in parts.items()}


def split(
    memberships: Sequence[Array],
    order: Sequence[int],
    *,
    least: int,
    leading: int | None = None,
    served: Codes | None = None,
    fewest: int = 1,
) -> tuple[Codes, Codes]:
    """Signatures, and everyone's place among them: level 1 in no order, of kinds that take `least` members.

    fewest : members that a kind has also where it stood before. The rest is as `find_archetypes` says.
    """
    n_leading = len(order) if leading is None else leading
    leasts = [least if number < n_leading else FOLLOWING_TIMES * least for number in range(len(order))]
    stood = None if served is None else _standing(served, order)
    everyone = np.arange(len(memberships[0]))
    path: _Prefix = ()
    groups = [(everyone, path)]
    for axis, least in zip(order, leasts, strict=True):
        grown = []
        for members, path in groups:
            shares = memberships[axis][members]
            sizes = np.bincount(shares.argmax(axis=1), minlength=shares.shape[1])
            takes = np.maximum(_takes(axis, least, shares.shape[1], path, stood), fewest)
            standing = np.flatnonzero(sizes >= takes)
            if len(standing) < 2:
                grown.append((members, path))
                continue
            nearest = standing[shares[:, standing].argmax(axis=1)]
            grown += [(members[nearest == segment], (*path, (axis, int(segment)))) for segment in standing]
        groups = grown
    signatures = np.full((len(groups), len(memberships)), ANY, dtype=np.int64)
    level1 = np.empty(len(everyone), dtype=np.int64)
    for number, (members, path) in enumerate(groups):
        level1[members] = number
        for axis, segment in path:
            signatures[number, axis] = segment
    return signatures, level1


def _takes(
    axis: int, least: int, n_segments: int, path: _Prefix, stood: Mapping[_Prefix, frozenset[tuple[int, int]]] | None
) -> Array:
    """(n_segments,) members that each part of a kind takes to stand."""
    if stood is None or path not in stood:
        return np.full(n_segments, float(least))
    there = np.array([(axis, segment) in stood[path] for segment in range(n_segments)])
    return np.where(there, STAYS * least, COMES * least)


def place(memberships: Sequence[Array], signatures: Codes, order: Sequence[int]) -> Codes:
    """(n_customers,) the archetype of any customers, by the splits that `find_archetypes` made.

    signatures : (n_archetypes, n_axes), all of them, in any order
    """
    found = np.empty(len(memberships[0]), dtype=np.int64)
    waiting = [(np.arange(len(found)), np.arange(len(signatures)), 0)]
    while waiting:
        members, among, depth = waiting.pop()
        if len(among) == 1 or depth == len(order):
            found[members] = among[0]
            continue
        axis = order[depth]
        standing = np.unique(signatures[among, axis])
        if len(standing) == 1:
            waiting.append((members, among, depth + 1))
            continue
        nearest = standing[memberships[axis][members][:, standing].argmax(axis=1)]
        for segment in np.unique(nearest):
            below = among[signatures[among, axis] == segment]
            waiting.append((members[nearest == segment], below, depth + 1))
    return found


def distinct_rows(rows: Codes) -> tuple[Codes, NDArray[np.intp], NDArray[np.intp]]:
    """The different rows in order, for each row which of them it is, and how often each comes.

    As np.unique along an axis gives them, in a fraction of its time: column by column, what rows are so far is one
    number, and their places among the different ones keep it small.
    """
    mine, n = np.zeros(len(rows), dtype=np.int64), 1
    for column in rows.T:
        codes = column - column.min()
        width = int(codes.max()) + 1
        if n * width > _MOST_CODES:
            different, mine = np.unique(mine, return_inverse=True)
            n = len(different)
        mine, n = mine * width + codes, n * width
    _, first, mine, counts = np.unique(mine, return_index=True, return_inverse=True, return_counts=True)
    return rows[first], mine, counts


def differing(own: Codes, signatures: Codes) -> Codes:
    """(n_customers,) axes of their signature on which customers' own segment is another; both (n_customers, n_axes)"""
    apart: Codes = ((signatures != ANY) & (own != signatures)).sum(axis=1)
    return apart


def defining(seconds: Codes, signatures: Codes) -> Codes:
    """Second segments on the axes that define a customer's archetype; both (n_customers, n_axes)"""
    return np.where(signatures == ANY, NONE_CLOSE, seconds)


def mean_top_membership(memberships: Sequence[Array]) -> Array:
    """(n_customers,) how clearly each customer belongs, over all axes, 0..1."""
    # Added axis by axis, so that one customer alone comes out as among all, to the last bit; np.mean does not.
    total = np.zeros(len(memberships[0]))
    for shares in memberships:
        total += top_two(shares)[0]
    return total / len(memberships)


def bands(clarity: Array, limits: tuple[float, float]) -> Codes:
    """(n_customers,) position in BANDS of customers this clear."""
    lower, upper = limits
    return np.where(clarity >= upper, 0, np.where(clarity >= lower, 1, 2)).astype(np.int64)


def nearest_bands(standing: NDArray[np.intp]) -> Codes:
    """For each of BANDS the position of the nearest band that stands in an archetype."""
    distance = np.abs(standing[None, :] - np.arange(len(BANDS))[:, None])
    nearest: Codes = standing[distance.argmin(axis=1)].astype(np.int64)
    return nearest


def close_seconds(memberships: Sequence[Array]) -> Codes:
    """(n_customers, n_axes) position of the second segment where it is within CLOSE of the first, else NONE_CLOSE."""
    columns = []
    for shares in memberships:
        # Not the last but one of a sort: of two equal shares that would be the dominant segment itself.
        others = shares.copy()
        others[np.arange(len(shares)), shares.argmax(axis=1)] = -1.0
        columns.append(np.where(is_close(shares), others.argmax(axis=1), NONE_CLOSE))
    return np.stack(columns, axis=1).astype(np.int64)


def archetype_ids(
    signatures: Sequence[Sequence[str]], *, prefix: str = "arch_", least_digits: int = 6, taken: Collection[str] = ()
) -> list[str]:
    """Ids from signatures: digits of a hash, as many as it takes for no two to be alike.

    signatures : what each archetype is made of, all different; the same signature has the same id in every run in which
                 no other begins with the same digits
    taken      : ids of others
    """
    if len({tuple(signature) for signature in signatures}) < len(signatures):
        raise ValueError("archetype_ids needs signatures that are all different; two alike would never get two ids")
    digests = [hashlib.sha256("|".join(signature).encode()).digest() for signature in signatures]
    digits = [str(int.from_bytes(digest, "big")).rjust(78, "0")[::-1] for digest in digests]
    lengths = [least_digits] * len(digits)
    while True:
        ids = [own[:length] for own, length in zip(digits, lengths, strict=True)]
        counts = Counter(ids)
        clashing = [counts[name] > 1 or prefix + name in taken for name in ids]
        if not any(clashing):
            return [prefix + name for name in ids]
        lengths = [length + clash for length, clash in zip(lengths, clashing, strict=True)]


def _strength_bands(band: Codes, level1: Codes, min_members: int) -> tuple[Codes, Codes]:
    """Level 2: level 1 by band; thin bands join their neighbour."""
    band = band.copy()
    for group in range(level1.max() + 1):
        members = np.flatnonzero(level1 == group)
        sizes = np.bincount(band[members], minlength=len(BANDS))
        standing = np.flatnonzero(sizes >= min_members)
        if not len(standing):
            standing = np.array([sizes.argmax()])
        band[members] = nearest_bands(standing)[band[members]]
    pairs, number, _ = distinct_rows(np.stack([level1, band], axis=1))
    return number.ravel(), pairs


def _second_segments(seconds: Codes, signatures: Codes, level1: Codes, min_members: int) -> tuple[Codes, Codes, Codes]:
    """Level 3: level 1 by the set of close second segments; sets that cannot stand lose it."""
    close = np.column_stack([level1, seconds])
    unique, group, sizes = distinct_rows(close)
    # A set too few share is read as none being close, the archetype's plain form. So is one that a folded customer
    # brings whose second segment is the archetype's own: nothing leans to what it is.
    own = ((unique[:, 1:] == signatures[unique[:, 0]]) & (unique[:, 1:] != NONE_CLOSE)).any(axis=1)
    stands = (sizes >= min_members) & ~own
    plain = close.copy()
    plain[:, 1:] = NONE_CLOSE
    merged = np.where(stands[group.ravel()][:, None], close, plain)
    # Where the plain form of an archetype is itself too thin, its largest form takes those members in. Every other form
    # that is left stands, so the order in which archetypes are seen does not matter.
    unique, group, sizes = distinct_rows(merged)
    group = group.ravel()
    for thin in np.flatnonzero(sizes < min_members):
        siblings = np.flatnonzero(unique[:, 0] == unique[thin, 0])
        group[group == thin] = siblings[sizes[siblings].argmax()]
    standing, number = np.unique(group, return_inverse=True)
    return number.ravel(), unique[standing, 0], unique[standing, 1:]
