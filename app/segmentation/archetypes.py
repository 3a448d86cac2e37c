"""From dominant segments to kinds of customer.

Level 1 is the signature: the dominant segment of every axis with structure. Signatures too rare to stand are folded
into the kept one their members most likely belong to. Level 2 splits level 1 by how clearly its members belong, level 3
by the second segment on the axes where it is close. Both nest in level 1, and no group of any level is smaller than the
least size, unless a whole level-1 archetype is.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.segmentation.membership import Array, is_close

Codes = NDArray[np.int64]
BANDS = ("core", "typical", "edge")
NONE_CLOSE = -1

_FOLDING_BLOCK = 2_000
#: The least a share counts for when folding. In the segments of a reading that is not theirs customers have exactly 0:
#: taken as it is, that one axis would outweigh all others together.
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Archetypes:
    """Every customer's kind, on three levels. Groups are numbered from 0, level 1 with the most common signature first.

    signatures    : (n_level1, n_axes) position of the dominant segment on each axis
    level1        : (n_customers,) group on level 1
    fold_distance : (n_customers,) axes on which a customer's own dominant segment differs from their archetype's
    level2        : (n_customers,) group on level 2; level2_of (n_level2, 2) its level-1 group and position in BANDS
    level3        : (n_customers,) group on level 3; level3_of (n_level3,) its level-1 group, and
    seconds       : (n_level3, n_axes) position of the second segment, NONE_CLOSE where none is close
    band_limits   : mean top membership from which a customer is typical, and from which core
    kept_share    : of customers whose own signature stands, 0..1
    """

    signatures: Codes
    level1: Codes
    fold_distance: Codes
    level2: Codes
    level2_of: Codes
    level3: Codes
    level3_of: Codes
    seconds: Codes
    band_limits: tuple[float, float]
    kept_share: float


def find_archetypes(memberships: Sequence[Array], *, min_members: int) -> Archetypes:
    """Group customers by signature.

    memberships : one (n_customers, k) array for each axis with structure; with none, all are of one kind
    min_members : a signature with fewer members is folded; where none has as many, the most common ones stand
    """
    if not memberships:
        raise ValueError("find_archetypes needs at least one axis; give a shop without structure one segment for all")
    own = np.stack([shares.argmax(axis=1) for shares in memberships], axis=1).astype(np.int64)
    unique, group, sizes = np.unique(own, axis=0, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(sizes >= min(min_members, sizes.max()))
    kept = kept[np.argsort(-sizes[kept], kind="stable")]
    signatures = unique[kept]

    number = np.full(len(unique), -1)
    number[kept] = np.arange(len(kept))
    level1 = number[group.ravel()]
    rare = np.flatnonzero(level1 < 0)
    level1[rare] = likeliest([shares[rare] for shares in memberships], signatures)
    fold_distance = (own != signatures[level1]).sum(axis=1)

    clarity = mean_top_membership(memberships)
    lower, upper = np.quantile(clarity, [1 / 3, 2 / 3])
    level2, level2_of = _strength_bands(bands(clarity, (lower, upper)), level1, min_members)
    level3, level3_of, seconds = _second_segments(close_seconds(memberships), signatures, level1, min_members)
    return Archetypes(
        signatures=signatures,
        level1=level1,
        fold_distance=fold_distance,
        level2=level2,
        level2_of=level2_of,
        level3=level3,
        level3_of=level3_of,
        seconds=seconds,
        band_limits=(float(lower), float(upper)),
        kept_share=1 - len(rare) / len(own),
    )


def mean_top_membership(memberships: Sequence[Array]) -> Array:
    """(n_customers,) how clearly each customer belongs, over all axes, 0..1."""
    # Added axis by axis, so that one customer alone comes out as among all, to the last bit; np.mean does not.
    total = np.zeros(len(memberships[0]))
    for shares in memberships:
        total += shares.max(axis=1)
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


def likeliest(memberships: Sequence[Array], signatures: Codes) -> Codes:
    """(n_customers,) the signature of the highest likelihood for each: the sum of log memberships over the axes."""
    found = np.empty(len(memberships[0]), dtype=np.int64)
    for start in range(0, len(found), _FOLDING_BLOCK):
        block = slice(start, start + _FOLDING_BLOCK)
        likelihood = np.zeros((len(found[block]), len(signatures)))
        for axis, shares in enumerate(memberships):
            likelihood += np.log(np.maximum(shares[block], _LEAST_SHARE))[:, signatures[:, axis]]
        found[block] = likelihood.argmax(axis=1)
    return found


def archetype_ids(signatures: Sequence[Sequence[str]], *, prefix: str = "arch_", least_digits: int = 6) -> list[str]:
    """Ids from signatures: digits of a hash, as many as it takes for no two to be alike.

    signatures : what each archetype is made of, all different; the same signature has the same id in every run in which
                 no other begins with the same digits
    """
    if len({tuple(signature) for signature in signatures}) < len(signatures):
        raise ValueError("archetype_ids needs signatures that are all different; two alike would never get two ids")
    digests = [hashlib.sha256("|".join(signature).encode()).digest() for signature in signatures]
    digits = [str(int.from_bytes(digest, "big")).rjust(78, "0")[::-1] for digest in digests]
    lengths = [least_digits] * len(digits)
    while True:
        ids = [own[:length] for own, length in zip(digits, lengths, strict=True)]
        taken = Counter(ids)
        if len(taken) == len(ids):
            return [prefix + name for name in ids]
        lengths = [length + (taken[name] > 1) for name, length in zip(ids, lengths, strict=True)]


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
    pairs, number = np.unique(np.stack([level1, band], axis=1), axis=0, return_inverse=True)
    return number.ravel(), pairs


def _second_segments(seconds: Codes, signatures: Codes, level1: Codes, min_members: int) -> tuple[Codes, Codes, Codes]:
    """Level 3: level 1 by the set of close second segments; sets that cannot stand lose it."""
    close = np.column_stack([level1, seconds])
    unique, group, sizes = np.unique(close, axis=0, return_inverse=True, return_counts=True)
    # A set too few share is read as none being close, the archetype's plain form. So is one that a folded customer
    # brings whose second segment is the archetype's own: nothing leans to what it is.
    own = (unique[:, 1:] == signatures[unique[:, 0]]).any(axis=1)
    stands = (sizes >= min_members) & ~own
    plain = close.copy()
    plain[:, 1:] = NONE_CLOSE
    merged = np.where(stands[group.ravel()][:, None], close, plain)
    # Where the plain form of an archetype is itself too thin, its largest form takes those members in. Every other form
    # that is left stands, so the order in which archetypes are seen does not matter.
    unique, group, sizes = np.unique(merged, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    for thin in np.flatnonzero(sizes < min_members):
        siblings = np.flatnonzero(unique[:, 0] == unique[thin, 0])
        group[group == thin] = siblings[sizes[siblings].argmax()]
    standing, number = np.unique(group, return_inverse=True)
    return number.ravel(), unique[standing, 0], unique[standing, 1:]
