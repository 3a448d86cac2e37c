"""What a run writes into the star: a discovery, as the rows of each table."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.domain.rfm import GROUPS, RfmScores
from app.pipeline.lineage import archetype_lineage, kind_changes, segment_lineage
from app.pipeline.placing import PlacedAxis, Standing
from app.pipeline.profile_text import own_text, own_texts
from app.pipeline.yardstick import Yardstick
from app.segmentation.archetypes import ANY, BANDS, NONE_CLOSE, archetype_ids, mean_top_membership
from app.segmentation.clustering import shared
from app.segmentation.discovery import DiscoveredAxis, Discovery, Segment
from app.segmentation.identity import NOBODY, EarlierKind
from app.segmentation.membership import Array
from app.segmentation.naming import EVERYONE
from app.segmentation.norms import UNUSUAL_FOR_A_GROUP, traits, typical_value
from app.segmentation.readings import asks

#: Digits kept of memberships and features in JSON: far below what matters, and equal to 1e-9 when read back.
_DECIMALS = 12
#: Whom a share of customers is a share of.
POPULATION = "segmented customers"


class HasId(Protocol):
    """A segment, found now or read back."""

    @property
    def segment_id(self) -> str: ...


def placed(axis: DiscoveredAxis) -> PlacedAxis:
    return PlacedAxis(
        axis=axis.axis,
        names=tuple(segment.name for segment in axis.segments),
        sources=tuple(segment.source for segment in axis.segments),
        memberships=axis.memberships,
        in_signature=axis.has_structure,
    )


def star_of(
    discovery: Discovery,
    customer_ids: Sequence[str],
    values: Mapping[str, Array],
    *,
    snapshot: date,
    as_of: datetime,
    yardstick: Yardstick,
) -> tuple[dict[str, pl.DataFrame], Callable[[], pl.DataFrame]]:
    """Rows for every table of a run, by table name; the keys store_id and run_id are added on writing. Those of
    `fact_customer_current` are worked out when they are called for: it takes longer than all the others.

    values    : the metrics and features of `domain.features`, each (n_customers,)
    snapshot  : the shop's day that as_of closes
    yardstick : what is unusual, and worth what, in this shop
    """
    dimensions, standing = _archetypes(discovery, values, yardstick)
    axes = [placed(axis) for axis in discovery.axes]
    standings = standing_rows(customer_ids, values, standing, snapshot=snapshot)
    star = {
        "dim_segment_master": _segments(discovery),
        **dimensions,
        "fact_customer_history": history_rows(standings, axes, [axis.segments for axis in discovery.axes]),
        "segment_lineage": segment_lineage(discovery),
    }
    return star, partial(customer_rows, standings, values, axes, standing, as_of=as_of, yardstick=yardstick)


def standing_rows(
    customer_ids: Sequence[str], values: Mapping[str, Array], standing: Standing, *, snapshot: date
) -> pl.DataFrame:
    """What both fact tables keep of everyone."""
    return pl.DataFrame(
        {
            "customer_id": customer_ids,
            "snapshot_date": [snapshot] * len(customer_ids),
            "archetype_id": standing.level1,
            "archetype_level2_id": standing.level2,
            "archetype_level3_id": standing.level3,
            "lifetime_value": np.round(values["lifetime_value"], 4),
            "total_orders": values["total_orders"].astype(np.int64),
            "days_since_last_purchase": values["recency_days"].astype(np.int64),
            "customer_tenure_days": values["tenure_days"].astype(np.int64),
        }
    )


def customer_rows(
    standings: pl.DataFrame,
    values: Mapping[str, Array],
    axes: Sequence[PlacedAxis],
    standing: Standing,
    *,
    as_of: datetime,
    yardstick: Yardstick,
) -> pl.DataFrame:
    """Rows of `fact_customer_standing`, of a whole shop. standings : of `standing_rows`"""
    clear = [axis.memberships for axis in axes if axis.in_signature] or [np.ones((standings.height, 1))]
    rfm = _rfm_scores(values, yardstick)
    return standings.with_columns(
        pl.DataFrame(
            {
                "avg_order_value": np.round(values["avg_order_value"], 4),
                "cluster_confidence": np.round(mean_top_membership(clear), _DECIMALS),
                "fold_distance": standing.fold_distance,
                "rfm_recency": rfm.recency,
                "rfm_frequency": rfm.frequency,
                "rfm_monetary": rfm.monetary,
                "rfm_group": pl.Series([group.value for group in GROUPS])[rfm.groups],
                "memberships": np.concatenate([axis.memberships for axis in axes], axis=1).round(_DECIMALS),
                "dominant": np.stack(_dominant(axes), axis=1).astype(np.int16),
                "features": np.stack([values[name] for name in _features(axes)], axis=1).round(_DECIMALS),
                "profile": own_texts(axes, standing, values, yardstick=yardstick, as_of=as_of),
            }
        )
    )


def customer_row(
    customer_id: str,
    values: Mapping[str, Array],
    axes: Sequence[PlacedAxis],
    standing: Standing,
    *,
    snapshot: date,
    as_of: datetime,
    yardstick: Yardstick,
) -> dict[str, Any]:
    """The same row of one customer, {column: value}: arrays hold one row."""
    clear = [axis.memberships for axis in axes if axis.in_signature] or [np.ones((1, 1))]
    rfm = _rfm_scores(values, yardstick)
    return {
        "customer_id": customer_id,
        "archetype_id": standing.level1[0],
        "archetype_level2_id": standing.level2[0],
        "archetype_level3_id": standing.level3[0],
        **{name: Decimal(f"{values[name][0]:.4f}") for name in ("lifetime_value", "avg_order_value")},
        "total_orders": int(values["total_orders"][0]),
        "days_since_last_purchase": int(values["recency_days"][0]),
        "customer_tenure_days": int(values["tenure_days"][0]),
        "cluster_confidence": round(float(mean_top_membership(clear)[0]), _DECIMALS),
        "fold_distance": int(standing.fold_distance[0]),
        "snapshot_date": snapshot,
        "rfm_recency": int(rfm.recency[0]),
        "rfm_frequency": int(rfm.frequency[0]),
        "rfm_monetary": int(rfm.monetary[0]),
        "rfm_group": GROUPS[rfm.groups[0]].value,
        "memberships": [share for axis in axes for share in axis.memberships[0].round(_DECIMALS).tolist()],
        "dominant": [int(place[0]) for place in _dominant(axes)],
        "features": [round(float(values[name][0]), _DECIMALS) for name in _features(axes)],
        "profile": own_text(axes, standing, values, yardstick=yardstick, as_of=as_of),
    }


def _dominant(axes: Sequence[PlacedAxis]) -> list[NDArray[np.int64]]:
    """Per axis the place of everyone's top segment in the list of their memberships, from 1."""
    first, places = 1, []
    for axis in axes:
        places.append(axis.memberships.argmax(axis=1) + first)
        first += len(axis.names)
    return places


def _features(axes: Sequence[PlacedAxis]) -> list[str]:
    """What customers' lists of features hold: axis by axis what it is read by, source by source."""
    return [
        feature.name
        for axis in axes
        for source in dict.fromkeys(axis.sources)
        for feature in axis.axis.features_from(source)
    ]


def by_axis(axes: Sequence[PlacedAxis], memberships: Sequence[float]) -> dict[str, dict[str, float]]:
    """{axis: {segment name: share}} of a customer's list."""
    shares = iter(memberships)
    return {axis.axis.name: {name: next(shares) for name in axis.names} for axis in axes}


def features_by_axis(axes: Sequence[PlacedAxis], features: Sequence[float]) -> dict[str, dict[str, float]]:
    """{axis: {feature: value}} of one customer's list, of what they are read by: axes hold one row."""
    values = iter(features)
    found = {}
    for axis in axes:
        told = {
            source: {feature.name: next(values) for feature in axis.axis.features_from(source)}
            for source in dict.fromkeys(axis.sources)
        }
        found[axis.axis.name] = told[axis.read_from[0]]
    return found


def history_rows(
    standings: pl.DataFrame, axes: Sequence[PlacedAxis], segments: Sequence[Sequence[HasId]]
) -> pl.DataFrame:
    """The day's rows of `fact_customer_history`. segments : per axis those it is placed on"""
    ids = pl.Enum([each.segment_id for of_axis in segments for each in of_axis])
    places = np.stack(_dominant(axes), axis=1)
    mine = pl.Series((places - 1).astype(np.uint32).ravel()).cat.to(ids).reshape(places.shape)
    return standings.with_columns(segment_ids=mine)


def _rfm_scores(values: Mapping[str, Array], yardstick: Yardstick) -> RfmScores:
    return yardstick.rfm.scores(values["recency_days"], values["total_orders"], values["lifetime_value"])


def _segments(discovery: Discovery) -> pl.DataFrame:
    rows = []
    first, first_feature = 1, 1  # places in the lists of each customer
    for axis in discovery.axes:
        for reading in axis.readings:
            for position, segment in enumerate(axis.segments[reading.positions], start=reading.first):
                rows.append(
                    {
                        "segment_id": segment.segment_id,
                        "axis_name": axis.axis.name,
                        "position": position,
                        "segment_name": segment.name,
                        "interpretation": segment.interpretation,
                        "source": segment.source.value,
                        "cluster_center": _dumped(reading.fitted.centers[position - reading.first].tolist()),
                        "scaler_params": _dumped(reading.fitted.scaler_params()),
                        "population_percentage": 100 * segment.share,
                        "customer_count": segment.count,
                        "named_for": _dumped(segment.named_for),
                        "place": first + position,
                        "first_feature": first_feature,
                    }
                )
            first_feature += len(reading.fitted.features)
        first += len(axis.segments)
    return pl.DataFrame(rows)


def _archetypes(
    discovery: Discovery, values: Mapping[str, Array], yardstick: Yardstick
) -> tuple[dict[str, pl.DataFrame], Standing]:
    """The three dimension tables, and everyone's place in them."""
    found = discovery.archetypes
    axes = discovery.signature
    # Where no axis has structure there is one archetype of one made-up column: everyone.
    defined = [
        {axis.axis.name: axis.segments[code] for axis, code in zip(axes, row, strict=False) if code != ANY}
        for row in found.signatures
    ]
    signatures = [[segment.segment_id for segment in row.values()] or [EVERYONE] for row in defined]
    says = [{axis: segment.name for axis, segment in row.items()} for row in defined]
    level1_ids = _archetype_ids(discovery, signatures)
    usual = _usual_segments(axes, found.level1, len(defined))
    dominant = [{**common, **row} for common, row in zip(usual, says, strict=True)]
    names = _kept_names(discovery, says, dominant, _archetype_names(discovery))
    key_traits = _archetype_traits(discovery, values, yardstick)
    level1 = _dimension(found.level1, values, level1_ids, names)
    level1 = level1.with_columns(
        dominant_segments=pl.Series([_dumped(each) for each in dominant]),
        key_traits=pl.Series([_dumped(each) for each in key_traits]),
        profile=pl.Series(archetype_profiles(level1, dominant, key_traits)),
        segment_ids=pl.Series(["{" + ",".join(row) + "}" for row in signatures]),
        defined_by=pl.Series(["{" + ",".join(row) + "}" for row in defined]),
        folded_count=np.bincount(found.level1[found.fold_distance > 0], minlength=len(level1_ids)),
    )
    parents2 = found.level2_of[:, 0]
    bands = [BANDS[band] for band in found.level2_of[:, 1]]
    level2_ids = [f"{level1_ids[parent]}_{band}" for parent, band in zip(parents2, bands, strict=True)]
    level2 = _dimension(
        found.level2,
        values,
        level2_ids,
        [f"{names[p]}, {band.title()}" for p, band in zip(parents2, bands, strict=True)],
    ).with_columns(parent_id=pl.Series([level1_ids[p] for p in parents2]), strength_band=pl.Series(bands))

    leaning = [
        {axis.axis.name: axis.segments[code] for axis, code in zip(axes, row, strict=False) if code != NONE_CLOSE}
        for row in found.seconds
    ]
    level3_ids = _level3_ids(level1_ids, found.level3_of, leaning)
    level3_names = [
        names[parent] + (", Leaning " + " and ".join(_words(s.name) for s in seconds.values()) if seconds else "")
        for parent, seconds in zip(found.level3_of, leaning, strict=True)
    ]
    level3 = _dimension(found.level3, values, level3_ids, level3_names).with_columns(
        parent_id=pl.Series([level1_ids[p] for p in found.level3_of]),
        second_segments=pl.Series([_dumped({axis: s.name for axis, s in seconds.items()}) for seconds in leaning]),
    )
    standing = Standing(
        level1=pl.Series(level1_ids)[found.level1].to_list(),
        level2=pl.Series(level2_ids)[found.level2].to_list(),
        level3=pl.Series(level3_ids)[found.level3].to_list(),
        fold_distance=found.fold_distance,
    )
    tables = {"dim_archetype_l1": level1, "dim_archetype_l2": level2, "dim_archetype_l3": level3}
    return {**tables, "archetype_lineage": archetype_lineage(discovery, level1_ids, names, dominant)}, standing


def _archetype_ids(discovery: Discovery, signatures: Sequence[Sequence[str]]) -> list[str]:
    """Ids of level 1: those of the archetypes they go on as, and new ones for the others. signatures : segment ids"""
    earlier, kinds = discovery.earlier, discovery.kinds
    if earlier is None or kinds is None:
        return archetype_ids(signatures)
    ids = [earlier.kinds[heir].archetype_id if heir != NOBODY else "" for heir in kinds.descent.heir_of]
    new = [number for number, archetype_id in enumerate(ids) if not archetype_id]
    taken = {kind.archetype_id for kind in earlier.kinds}
    for number, archetype_id in zip(new, archetype_ids([signatures[each] for each in new], taken=taken), strict=True):
        ids[number] = archetype_id
    return ids


def _kept_names(
    discovery: Discovery,
    says: Sequence[Mapping[str, str]],
    usual: Sequence[Mapping[str, str]],
    names: Sequence[str],
) -> list[str]:
    """An archetype keeps its name as long as most of its members are what it says. names : if all were new"""
    earlier, kinds = discovery.earlier, discovery.kinds
    if earlier is None or kinds is None:
        return list(names)
    kept = {
        number: earlier.kinds[heir].name
        for number, heir in enumerate(kinds.descent.heir_of.tolist())
        if heir != NOBODY and _still_true(earlier.kinds[heir], usual[number])
    }
    taken = set(kept.values())
    for number, name in enumerate(names):
        if number in kept:
            continue
        # A name that another has kept is told apart by what else defines this one.
        further = [_words(segment) for segment in says[number].values() if _words(segment) not in name.split(", ")]
        while name in taken and further:
            name = f"{name}, {further.pop(0)}"
        number_of_it = 2
        while name in taken:
            name, number_of_it = f"{names[number]}, Group {number_of_it}", number_of_it + 1
        kept[number] = name
        taken.add(name)
    return [kept[number] for number in range(len(names))]


def _still_true(before: EarlierKind, usual: Mapping[str, str]) -> bool:
    named = set(before.name.split(", "))
    return not any(_words(change["before"]) in named for change in kind_changes(before, usual))


def _usual_segments(axes: Sequence[DiscoveredAxis], group: NDArray[np.int64], n_groups: int) -> list[dict[str, str]]:
    """Per archetype the segment most of its members have, on every axis with structure."""
    most = [shared(group, axis.dominant, n_groups, len(axis.segments)).argmax(axis=1) for axis in axes]
    return [
        {axis.axis.name: axis.segments[common[number]].name for axis, common in zip(axes, most, strict=True)}
        for number in range(n_groups)
    ]


def _dimension(
    group: NDArray[np.int64], values: Mapping[str, Array], ids: Sequence[str], names: Sequence[str]
) -> pl.DataFrame:
    """The columns all three archetype tables share. group : (n_customers,) number of each customer's archetype"""
    return pl.DataFrame(
        {
            "archetype_id": ids,
            "name": names,
            "slug": [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names],
            **group_figures(group, values, n_groups=len(ids)),
        }
    )


def group_figures(group: NDArray[np.int64], values: Mapping[str, Array], *, n_groups: int) -> dict[str, Any]:
    """What the archetype tables tell of each group's members, by column; all 0 for a group that has none.

    group : (n_customers,) number of each customer's group
    """
    members = np.bincount(group, minlength=n_groups)
    share = members / len(group)
    worth, orders, recency = (
        np.bincount(group, weights=values[name], minlength=n_groups)
        for name in ("lifetime_value", "total_orders", "recency_days")
    )
    some, bought = np.maximum(members, 1), np.maximum(orders, 1)
    descriptions = [
        f"{100 * part:.1f} % of customers, with {spent:,.2f} spent over {n_orders:.1f} orders on average, "
        f"the last {days:.0f} days ago."
        if part
        else "Nobody is of this kind now."
        for part, spent, n_orders, days in zip(share, worth / some, orders / some, recency / some, strict=True)
    ]
    return {
        "description": descriptions,
        "member_count": members,
        "population_percentage": 100 * share,
        "avg_ltv": np.round(worth / some, 4),
        "total_ltv": np.round(worth, 4),
        "avg_orders": orders / some,
        "avg_order_value": np.round(worth / bought, 4),
        "avg_recency_days": recency / some,
    }


def _archetype_traits(discovery: Discovery, values: Mapping[str, Array], yardstick: Yardstick) -> list[list[str]]:
    """What is unusual about the typical member of each level-1 archetype."""
    found, axes = discovery.archetypes, discovery.signature
    n_groups = len(found.signatures)
    by_group = np.argsort(found.level1, kind="stable")
    members = np.split(by_group, np.cumsum(np.bincount(found.level1, minlength=n_groups))[:-1])
    # Of members folded in from another reading, what is read from tickets says nothing.
    asking = [group[asks(values)[group]] for group in members]
    askers = [mine if len(mine) else group for mine, group in zip(asking, members, strict=True)]
    from_tickets = {feature: askers for axis in axes for feature in axis.axis.ticket_features}
    from_orders = {feature: members for axis in axes for feature in axis.axis.features}
    typical = {
        feature.name: np.array([typical_value(feature, values[feature.name][group]) for group in groups])
        for feature, groups in {**from_tickets, **from_orders}.items()
    }
    if not axes:
        return [[] for _ in range(n_groups)]
    usual = _usual_segments(axes, found.level1, n_groups)
    segments = [[each[axis.axis.name] for each in usual] for axis in axes]
    return traits(yardstick.norms, [axis.axis for axis in axes], segments, typical, unusual=UNUSUAL_FOR_A_GROUP)


def archetype_profiles(
    level1: pl.DataFrame, dominant: Sequence[Mapping[str, str]], key_traits: Sequence[Sequence[str]]
) -> list[str]:
    """Each archetype as it stands in its members' profiles."""
    return [
        _dumped(
            {
                "archetype_id": row["archetype_id"],
                "segment_name": row["name"],
                "description": row["description"],
                "level": 1,
                "dominant_segments": segments,
                "member_count": row["member_count"],
                "population_percentage": round(row["population_percentage"], 2),
                "population": POPULATION,
                "key_traits": traits_of_it,
            }
        )
        for row, segments, traits_of_it in zip(level1.iter_rows(named=True), dominant, key_traits, strict=True)
    ]


def _archetype_names(discovery: Discovery) -> list[str]:
    """A name for each level-1 archetype: what its members spend, how often, and what sets them apart from the others.

    Starts from the two axes people ask for first and adds, for archetypes that still share a name, the segment that the
    fewest of them have, until no two are alike. Only what defines an archetype is in its name.
    """
    axes, signatures = discovery.signature, discovery.archetypes.signatures
    if len(signatures) == 1:
        return [_words(EVERYONE)]
    by_name = {axis.axis.name: number for number, axis in enumerate(axes)}
    lead = [by_name[name] for name in ("purchase_value", "purchase_frequency") if name in by_name]
    chosen = [[number for number in lead if signature[number] != ANY] for signature in signatures]
    while True:
        names = [
            ", ".join(_words(axes[number].segments[signature[number]].name) for number in numbers)
            for signature, numbers in zip(signatures, chosen, strict=True)
        ]
        alike: dict[str, list[int]] = {}
        for archetype, name in enumerate(names):
            alike.setdefault(name, []).append(archetype)
        left = {
            archetype: [
                number for number in np.flatnonzero(signatures[archetype] != ANY) if number not in chosen[archetype]
            ]
            for name, group in alike.items()
            if len(group) > 1 or not name
            for archetype in group
        }
        if not any(left.values()):
            return names
        # How many of those who share its name share each of its segments.
        sharing = {each: (signatures[alike[names[each]]] == signatures[each]).sum(axis=0) for each in left}
        for archetype, numbers in left.items():
            if numbers:
                chosen[archetype].append(int(min(numbers, key=sharing[archetype].__getitem__)))


def _level3_ids(
    level1_ids: Sequence[str], parents: NDArray[np.int64], leaning: Sequence[Mapping[str, Segment]]
) -> list[str]:
    """Level-1 id and digits of what they lean to; 0 where they lean to nothing."""
    signatures = [
        [level1_ids[parent], *(f"{axis}={segment.segment_id}" for axis, segment in seconds.items())]
        for parent, seconds in zip(parents, leaning, strict=True)
    ]
    digits = archetype_ids(signatures, prefix="")
    return [
        f"{signature[0]}_{own if len(signature) > 1 else 0}" for signature, own in zip(signatures, digits, strict=True)
    ]


def _words(name: str) -> str:
    return name.replace("_", " ").title()


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
