"""Archetypes and segments of the served run, told in the caller's view."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.api import anonymous, foretold
from app.api.archetypes.charts import axis_chart
from app.api.archetypes.schemas import (
    ArchetypeDetail,
    ArchetypeMetrics,
    ArchetypeSummary,
    Axes,
    AxisReading,
    AxisReport,
    AxisSegment,
    Characteristics,
    Drift,
    Kind,
    Kinds,
    Lineage,
    Member,
    Members,
    Metric,
    OneAxis,
    Overlap,
    PastStep,
    ReadingEvidence,
    RfmGroup,
    RfmGroups,
    RfmScores,
    Stability,
    Step,
    SubArchetype,
    SubArchetypes,
    TopArchetypes,
    TriedSplit,
    TypicalFeature,
)
from app.core.cursors import seal, unseal
from app.core.errors import ArchetypeNotFound, AxisNotFound, InvalidParameter, NothingPublished, OutdatedRun
from app.core.keys import Caller
from app.resources import Resources
from app.warehouse import archetypes
from app.warehouse import lineage as lineages
from app.warehouse.engine import Row
from app.warehouse.predictions import PredictedOfKind, PredictedOfKinds

POPULATION = "segmented customers"
_VALUES = ("avg_predicted_ltv_12m", "total_predicted_ltv_12m", "expected_spend_90d")


# Kinds of customer


async def top(resources: Resources, caller: Caller, *, metric: Metric, limit: int) -> TopArchetypes:
    """Archetypes of level 1, the largest by that metric first. Raises NothingPublished."""
    rows = await _served(resources, caller)
    summaries = await _summaries(resources, caller, rows, metric)
    summaries.sort(key=lambda each: (-each[0], each[1].archetype_id))
    return TopArchetypes(
        archetypes=[summary for _, summary in summaries[:limit]],
        metric=metric,
        total_archetypes=len(summaries),
        population=POPULATION,
        currency=rows[0]["currency"],
        timezone=rows[0]["timezone"],
        run_id=rows[0]["run_id"],
        prediction_id=rows[0]["served_prediction_id"],
        as_of=_moment(rows[0]["as_of"]),
    )


async def kinds(resources: Resources, caller: Caller) -> Kinds:
    """Every archetype of level 1, worth most first. Raises NothingPublished."""
    rows = await _served(resources, caller)
    recency = {row["archetype_id"]: row["avg_recency_days"] for row in rows}
    summaries = await _summaries(resources, caller, rows, Metric.total_ltv)
    summaries.sort(key=lambda each: (-each[0], each[1].archetype_id))
    return Kinds(
        segments=[
            Kind(
                id=each.archetype_id,
                name=each.segment_name,
                slug=each.slug,
                customer_count=each.member_count,
                avg_ltv=each.avg_ltv,
                characteristics=Characteristics(
                    recency_days=_recency(recency.get(each.archetype_id), caller),
                    frequency=each.avg_orders,
                    monetary_avg=each.avg_order_value,
                ),
                churn_risk_avg=each.churn_rate,
                avg_predicted_ltv_12m=each.avg_predicted_ltv_12m,
                total_predicted_ltv_12m=each.total_predicted_ltv_12m,
                expected_spend_90d=each.expected_spend_90d,
            )
            for _, each in summaries
        ],
        run_id=rows[0]["run_id"],
        prediction_id=rows[0]["served_prediction_id"],
        as_of=_moment(rows[0]["as_of"]),
    )


async def _served(resources: Resources, caller: Caller) -> Sequence[Row]:
    rows = await archetypes.read_archetypes(resources.database, caller.store_id)
    if not rows:
        raise NothingPublished(caller.store_id)
    return rows


async def _summaries(
    resources: Resources, caller: Caller, rows: Sequence[Row], metric: Metric
) -> list[tuple[float, ArchetypeSummary]]:
    """Each with what it is ranked by, in no order."""
    predicted = await foretold.predicted_of_kinds(
        resources, caller.store_id, run_id=rows[0]["run_id"], prediction_id=rows[0]["served_prediction_id"]
    )
    if not caller.identified:
        return await _hidden(resources, caller, rows, metric, predicted)
    return [(_rank(row, metric), _summary(row, predicted.get((row["archetype_id"], None)))) for row in rows]


def _predicted(of: PredictedOfKind | None) -> dict[str, float | None]:
    """Under the names that answers give it; nulls where nothing is."""
    if of is None:
        return dict.fromkeys(("churn_rate", *_VALUES))
    values = {name: getattr(of, name) for name in _VALUES}
    return {
        "churn_rate": round(of.churn_risk, 4),
        **{name: None if value is None else round(value, 2) for name, value in values.items()},
    }


def _predicted_about(of: PredictedOfKind | None) -> dict[str, float | None]:
    """The same for who may not count people. Of few of whom anything is predicted it is not told."""
    if of is None or of.n < anonymous.FEWEST:
        return _predicted(None)
    values = {name: getattr(of, name) for name in _VALUES}
    return {
        "churn_rate": anonymous.mean(of.churn_risk),
        **{
            name: None if value is None else (anonymous.about if name.startswith("total") else anonymous.mean)(value)
            for name, value in values.items()
        },
    }


def _predicted_together(each: Sequence[PredictedOfKind]) -> PredictedOfKind | None:
    """Of several kinds put together."""
    n = sum(of.n for of in each)
    if not n:
        return None

    def weighted(name: str) -> float | None:
        values = [(getattr(of, name), of.n) for of in each]
        return None if any(value is None for value, _ in values) else sum(value * n for value, n in values) / n

    totals = [of.total_predicted_ltv_12m for of in each]
    return PredictedOfKind(
        n=n,
        churn_risk=sum(of.churn_risk * of.n for of in each) / n,
        avg_predicted_ltv_12m=weighted("avg_predicted_ltv_12m"),
        total_predicted_ltv_12m=None if None in totals else sum(total or 0.0 for total in totals),
        expected_spend_90d=weighted("expected_spend_90d"),
    )


def _rank(row: Row, metric: Metric) -> float:
    return float(row[metric.value])


def _summary(row: Row, predicted: PredictedOfKind | None) -> ArchetypeSummary:
    average, total = _amount(row["avg_ltv"]), _amount(row["total_ltv"])
    return ArchetypeSummary(
        archetype_id=row["archetype_id"],
        segment_name=row["name"],
        slug=row["slug"],
        description=row["description"],
        level=1,
        member_count=row["member_count"],
        population_percentage=_mean(row["population_percentage"]),
        avg_ltv=average,
        total_ltv=total,
        avg_lifetime_value=average,
        total_revenue=total,
        avg_orders=_mean(row["avg_orders"]),
        avg_order_value=_amount(row["avg_order_value"]),
        **_predicted(predicted),
        dominant_segments=json.loads(row["dominant_segments"]),
        defined_by=row["defined_by"],
        key_traits=json.loads(row["key_traits"] or "[]"),
    )


async def _hidden(
    resources: Resources, caller: Caller, rows: Sequence[Row], metric: Metric, predicted: PredictedOfKinds
) -> list[tuple[float, ArchetypeSummary]]:
    """The archetypes without counts, and those too small to be shown by themselves as one."""
    small = await anonymous.small_groups(resources, caller.store_id, rows[0]["run_id"])
    told = []
    few = []
    for row in rows:
        if row["archetype_id"] in small.archetypes:
            few.append(row)
            continue
        of = predicted.get((row["archetype_id"], None))
        summary = _summary(row, of)
        total = anonymous.about(float(row["total_ltv"]))
        average = anonymous.mean(float(row["avg_ltv"]))
        shown = summary.model_copy(
            update={
                "description": anonymous.description(row["population_percentage"]),
                "member_count": None,
                "population_percentage": anonymous.share(row["population_percentage"]),
                "avg_ltv": average,
                "avg_lifetime_value": average,
                "total_ltv": total,
                "total_revenue": total,
                "avg_orders": anonymous.mean(row["avg_orders"]),
                "avg_order_value": anonymous.mean(float(row["avg_order_value"])),
                **_predicted_about(of),
                "dominant_segments": anonymous.dominant(summary.dominant_segments, small),
                "key_traits": anonymous.without_small(summary.key_traits, small),
            }
        )
        told.append((_rank(row, metric), shown))
    if few:
        of_few = [of for row in few if (of := predicted.get((row["archetype_id"], None))) is not None]
        told.append(_together(few, metric, _predicted_together(of_few)))
    return told


def _together(rows: Sequence[Row], metric: Metric, predicted: PredictedOfKind | None) -> tuple[float, ArchetypeSummary]:
    """Small archetypes as one. What they spent is told only where they are enough together."""
    members = sum(row["member_count"] for row in rows)
    total = float(sum(row["total_ltv"] for row in rows))
    orders = sum(row["avg_orders"] * row["member_count"] for row in rows)
    enough = members >= anonymous.FEWEST
    rank = {Metric.total_ltv: total, Metric.avg_ltv: total / members, Metric.member_count: float(members)}[metric]
    average = anonymous.mean(total / members) if enough else None
    about = anonymous.about(total) if enough else None
    return rank, ArchetypeSummary(
        archetype_id=anonymous.OTHER_ID,
        segment_name=anonymous.OTHER_NAME,
        slug=anonymous.OTHER_ID,
        description=anonymous.OTHER_DESCRIPTION,
        level=1,
        member_count=None,
        population_percentage=anonymous.share(sum(row["population_percentage"] for row in rows)),
        avg_ltv=average,
        total_ltv=about,
        avg_lifetime_value=average,
        total_revenue=about,
        avg_orders=anonymous.mean(orders / members) if enough else None,
        avg_order_value=anonymous.mean(total / orders) if enough else None,
        **_predicted_about(predicted),
        dominant_segments={},
        defined_by=[],
        key_traits=[],
    )


async def detail(resources: Resources, caller: Caller, archetype_id: str) -> ArchetypeDetail:
    """One archetype of any level. Raises NothingPublished, or ArchetypeNotFound also for one too small to be shown."""
    row = await _one(resources, caller, archetype_id)
    predicted = await foretold.predicted_of_kinds(
        resources, caller.store_id, run_id=row["run_id"], prediction_id=row["served_prediction_id"]
    )
    of = predicted.get((row["level1_id"], None if row["level"] == 1 else row["archetype_id"]))
    told = ArchetypeDetail(
        archetype_id=row["archetype_id"],
        segment_name=row["name"],
        slug=row["slug"],
        description=row["description"],
        level=row["level"],
        parent_id=row["parent_id"],
        member_count=row["member_count"],
        population_percentage=_mean(row["population_percentage"]),
        population=POPULATION,
        metrics=ArchetypeMetrics(
            avg_ltv=float(row["avg_ltv"]),
            total_ltv=float(row["total_ltv"]),
            avg_orders=round(row["avg_orders"], 2),
            avg_order_value=float(row["avg_order_value"]),
            avg_recency_days=round(row["avg_recency_days"], 1),
            **_predicted(of),
        ),
        dominant_segments=json.loads(row["dominant_segments"]),
        defined_by=row["defined_by"],
        key_traits=json.loads(row["key_traits"] or "[]"),
        strength_band=row["strength_band"],
        second_segments=json.loads(row["second_segments"]) if row["second_segments"] else None,
        sub_archetypes=SubArchetypes(level2=_subs(row["level2"]), level3=_subs(row["level3"]))
        if row["level"] == 1
        else None,
        lineage=await _steps(resources, caller, row["run_id"], axis=lineages.ARCHETYPES, group_id=row["archetype_id"])
        if row["level"] == 1
        else [],
        currency=row["currency"],
        timezone=row["timezone"],
        run_id=row["run_id"],
        prediction_id=row["served_prediction_id"],
        as_of=_moment(row["as_of"]),
    )
    if caller.identified:
        return told
    small = await anonymous.small_groups(resources, caller.store_id, told.run_id)
    subs = told.sub_archetypes
    exact = told.metrics
    metrics = ArchetypeMetrics(
        avg_ltv=anonymous.mean(exact.avg_ltv),
        total_ltv=anonymous.about(exact.total_ltv),
        avg_orders=anonymous.mean(exact.avg_orders),
        avg_order_value=anonymous.mean(exact.avg_order_value),
        avg_recency_days=anonymous.mean(exact.avg_recency_days),
        **_predicted_about(of),
    )
    return told.model_copy(
        update={
            "description": anonymous.description(told.population_percentage),
            "member_count": None,
            "population_percentage": anonymous.share(told.population_percentage),
            "metrics": metrics,
            "key_traits": anonymous.without_small(told.key_traits, small),
            "dominant_segments": anonymous.dominant(told.dominant_segments, small),
            "second_segments": told.second_segments and anonymous.dominant(told.second_segments, small),
            "sub_archetypes": subs
            and SubArchetypes(level2=_hidden_subs(subs.level2, small), level3=_hidden_subs(subs.level3, small)),
        }
    )


async def _one(resources: Resources, caller: Caller, archetype_id: str) -> Row:
    row = await archetypes.read_archetype(resources.database, caller.store_id, archetype_id)
    if row is None:
        raise NothingPublished(caller.store_id)
    if row["archetype_id"] is None or (not caller.identified and row["member_count"] < anonymous.FEWEST):
        raise ArchetypeNotFound(archetype_id, store_id=caller.store_id)
    return row


def _subs(told: str | None) -> list[SubArchetype]:
    return [
        SubArchetype(
            segment_name=each.pop("name"), population_percentage=_mean(each.pop("population_percentage")), **each
        )
        for each in json.loads(told or "[]")
    ]


def _hidden_subs(subs: Sequence[SubArchetype], small: archetypes.SmallGroups) -> list[SubArchetype]:
    told = []
    few = 0.0
    for each in subs:
        if each.archetype_id in small.archetypes:
            few += each.population_percentage
            continue
        update = {
            "description": anonymous.description(each.population_percentage),
            "member_count": None,
            "population_percentage": anonymous.share(each.population_percentage),
            "second_segments": each.second_segments and anonymous.dominant(each.second_segments, small),
        }
        told.append(each.model_copy(update=update))
    if few:
        other = SubArchetype(
            archetype_id=anonymous.OTHER_ID,
            segment_name=anonymous.OTHER_NAME,
            slug=anonymous.OTHER_ID,
            description=anonymous.OTHER_DESCRIPTION,
            member_count=None,
            population_percentage=anonymous.share(few),
        )
        told.append(other)
    return told


async def members(
    resources: Resources, caller: Caller, archetype_id: str, *, limit: int, cursor: str | None
) -> Members:
    """A page of members by lifetime value, the largest first; for who may not see identities the first few.

    Raises NothingPublished, ArchetypeNotFound, or InvalidParameter for a cursor of another list or of an earlier run.
    """
    kind = await _one(resources, caller, archetype_id)
    if not caller.identified:
        # The first few, and no page after them: going on to the last would count them.
        limit, cursor = min(limit, anonymous.LISTED), None
    purpose = json.dumps(["members", caller.store_id, archetype_id])
    after = None
    if cursor is not None:
        run_id, value, pseudonym = unseal(resources.secret, purpose, cursor)
        if run_id != kind["run_id"]:
            raise InvalidParameter("cursor", "the shop has been segmented anew since; begin with the first page")
        after = (Decimal(value), pseudonym)
    rows = await archetypes.read_members(
        resources.database, caller.store_id, archetype_id, level=kind["level"], after=after, limit=limit + 1
    )
    found = [row for row in rows if row["customer_id"] is not None]
    page, more = found[:limit], caller.identified and len(found) > limit
    resources.audit.read(caller, "archetype.members", [row["pseudonym"] for row in page])
    about = rows[0] if rows else kind
    return Members(
        archetype_id=archetype_id,
        members=[_member(row, caller) for row in page],
        next_cursor=seal(
            resources.secret, purpose, [about["run_id"], str(page[-1]["lifetime_value"]), page[-1]["pseudonym"]]
        )
        if more
        else None,
        run_id=about["run_id"],
        as_of=_moment(about["as_of"]),
    )


def _member(row: Row, caller: Caller) -> Member:
    name = " ".join(part for part in (row["first_name"], row["last_name"]) if part) or None
    return Member(
        customer_id=row["customer_id"] if caller.identified else row["pseudonym"],
        name=name if caller.identified else None,
        lifetime_value=float(row["lifetime_value"]),
        total_orders=row["total_orders"],
        days_since_last_purchase=row["days_since_last_purchase"],
        cluster_confidence=round(row["cluster_confidence"], 6),
        fold_distance=row["fold_distance"],
    )


# RFM groups


async def rfm(resources: Resources, caller: Caller) -> RfmGroups:
    """The ten groups of the served run. Raises NothingPublished, or OutdatedRun for one of an older version."""
    row = await archetypes.read_rfm(resources.database, caller.store_id)
    if row is None:
        raise NothingPublished(caller.store_id)
    if row["rfm"] is None:
        raise OutdatedRun(caller.store_id)
    told = json.loads(row["rfm"])
    groups = told["groups"]
    return RfmGroups(
        groups=[_rfm_group(each) for each in groups] if caller.identified else _hidden_rfm(groups),
        scores=RfmScores(**told["scores"]),
        population=POPULATION,
        currency=row["currency"],
        timezone=row["timezone"],
        run_id=row["run_id"],
        as_of=_moment(row["as_of"]),
    )


def _rfm_group(told: Mapping[str, Any]) -> RfmGroup:
    recency, orders = told["avg_recency_days"], told["avg_orders"]
    return RfmGroup(
        group=told["group"],
        meaning=told["meaning"],
        customer_count=told["count"],
        population_percentage=_mean(100 * told["share"]),
        avg_ltv=told["avg_ltv"],
        avg_recency_days=None if recency is None else _mean(recency),
        avg_orders=None if orders is None else _mean(orders),
    )


def _hidden_rfm(groups: Sequence[Mapping[str, Any]]) -> list[RfmGroup]:
    """The groups without counts, and those too small to be shown by themselves as one, last."""
    few = [each for each in groups if each["count"] < anonymous.FEWEST]
    told = [_uncounted_rfm(each) for each in groups if each["count"] >= anonymous.FEWEST]
    if few:
        told.append(_uncounted_rfm(_rfm_together(few)))
    return told


def _uncounted_rfm(told: Mapping[str, Any]) -> RfmGroup:
    """The means of fewer than may be shown are left out."""
    means = {name: told[name] for name in ("avg_ltv", "avg_recency_days", "avg_orders")}
    enough = told["count"] >= anonymous.FEWEST
    return RfmGroup(
        group=told["group"],
        meaning=told["meaning"],
        customer_count=None,
        population_percentage=anonymous.share(100 * told["share"]),
        **{name: anonymous.mean(value) if enough else None for name, value in means.items()},
    )


def _rfm_together(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    count = sum(each["count"] for each in groups)
    there = [each for each in groups if each["count"]]
    means = {
        name: sum(each[name] * each["count"] for each in there) / max(count, 1)
        for name in ("avg_ltv", "avg_recency_days", "avg_orders")
    }
    return {
        "group": anonymous.OTHER_ID,
        "meaning": anonymous.OTHER_DESCRIPTION,
        "count": count,
        "share": sum(each["share"] for each in groups),
        **means,
    }


# Axes


async def axes(resources: Resources, caller: Caller) -> Axes:
    """Every axis of the served run. Raises NothingPublished."""
    row, reports, small = await _reports(resources, caller)
    told = [_axis(each) if small is None else _hidden_axis(_axis(each), small) for each in reports]
    return Axes(axes=told, run_id=row["run_id"], as_of=_moment(row["as_of"]))


async def axis(resources: Resources, caller: Caller, name: str) -> OneAxis:
    """One of them, by name or alias, with its picture. Raises NothingPublished or AxisNotFound."""
    full = _full_name(name)
    row, reports, small = await _reports(resources, caller)
    report = next((each for each in reports if each["axis"] == full), None)
    if report is None:
        raise AxisNotFound(name, there=[each["axis"] for each in reports])
    seen, told = report, _axis(report)
    if small is not None and told.k is not None:
        seen, told = anonymous.axis(report, small), _hidden_axis(told, small)
    return OneAxis(
        **dict(told),
        chart=axis_chart({**seen, "says": told.says}),
        evidence=_evidence(seen),
        lineage=await _steps(resources, caller, row["run_id"], axis=told.axis),
        run_id=row["run_id"],
        as_of=_moment(row["as_of"]),
    )


async def _reports(
    resources: Resources, caller: Caller
) -> tuple[Row, list[dict[str, Any]], archetypes.SmallGroups | None]:
    """The served run, its axes as it reported them, and what of them the caller may not see; None for nothing."""
    row = await archetypes.read_axes(resources.database, caller.store_id)
    if row is None:
        raise NothingPublished(caller.store_id)
    few = None if caller.identified else await anonymous.small_groups(resources, caller.store_id, row["run_id"])
    return row, json.loads(row["axes"]), few


def _evidence(told: Mapping[str, Any]) -> list[ReadingEvidence] | None:
    """What stands behind the segments; None for an axis without data, and in runs of before."""
    readings = told.get("readings", [])
    if not readings or not all("picture" in reading for reading in readings):
        return None
    return [
        ReadingEvidence(
            source=reading["source"],
            tried=[TriedSplit(**each) for each in reading["tried"]],
            features=[
                TypicalFeature(
                    feature=each["feature"],
                    shop=each["shop"],
                    segments=dict(zip(_names(told, reading["source"]), each["segments"], strict=True)),
                )
                for each in reading["picture"]["features"]
            ],
        )
        for reading in readings
    ]


def _names(told: Mapping[str, Any], source: str) -> list[str]:
    return [each["name"] for each in told["segments"] if each["source"] == source]


def _full_name(name: str) -> str | None:
    """Of the axis with that name or alias; None where there is none."""
    from app.segmentation.axes import AXES  # loads scipy, which the other routes do without

    return {known: each.name for each in AXES for known in (each.name, *each.aliases)}.get(name.casefold())


def _axis(told: Mapping[str, Any]) -> AxisReport:
    return AxisReport(
        axis=told["axis"],
        measures=told["measures"],
        status=told["status"],
        note=told["note"],
        has_structure=told.get("has_structure"),
        k=told.get("k"),
        silhouette=told.get("silhouette"),
        null_silhouette=told.get("null_silhouette"),
        smallest_share=told.get("smallest_share"),
        stability=_stability(told),
        verdict=told.get("verdict"),
        says=told.get("says"),
        redundancy=_overlaps(told),
        readings=[
            AxisReading(
                source=each["source"],
                n_customers=each["n_customers"],
                population_percentage=_mean(100 * each["share"]),
                k=each["k"],
                silhouette=each["silhouette"],
                null_silhouette=each["null_silhouette"],
                smallest_share=each["smallest_share"],
                has_structure=each["has_structure"],
                stability=_stability(each),
                verdict=each.get("verdict"),
                says=each.get("says"),
                note=each["note"],
            )
            for each in told.get("readings", [])
        ],
        segments=[
            AxisSegment(
                segment_id=each["segment_id"],
                name=each["name"],
                source=each.get("source", "orders"),
                interpretation=each["interpretation"],
                customer_count=each["count"],
                population_percentage=_mean(100 * each["share"]),
            )
            for each in told.get("segments", [])
        ],
        drift=Drift(**told["drift"]) if told.get("drift") else None,
    )


def _stability(told: Mapping[str, Any]) -> Stability | None:
    found = told.get("stability")
    if found is None:
        return None
    return Stability(
        adjusted_rand=_hundredths(found["adjusted_rand"]), kept=_hundredths(found["kept"]), refits=found["refits"]
    )


def _overlaps(told: Mapping[str, Any]) -> list[Overlap] | None:
    found = told.get("redundancy")
    return None if found is None else [Overlap(axis=each["axis"], nmi=_hundredths(each["nmi"])) for each in found]


def _hidden_axis(told: AxisReport, small: archetypes.SmallGroups) -> AxisReport:
    few = small.segments.get(told.axis, frozenset())
    shown = [
        each.model_copy(
            update={
                "interpretation": anonymous.uncounted(each.interpretation),
                "customer_count": None,
                "population_percentage": anonymous.share(each.population_percentage),
            }
        )
        for each in told.segments
        if each.name not in few
    ]
    if len(shown) < len(told.segments):
        together = sum(each.population_percentage for each in told.segments if each.name in few)
        other = AxisSegment(
            segment_id=anonymous.OTHER_ID,
            name=anonymous.OTHER_ID,
            source=anonymous.OTHER_ID,
            interpretation=anonymous.OTHER_DESCRIPTION,
            customer_count=None,
            population_percentage=anonymous.share(together),
        )
        shown.append(other)
    smallest = told.smallest_share
    hidden = {each.source for each in told.segments if each.name in few}
    readings = [
        _hidden_reading(each, whole=each.source not in hidden)
        for each in told.readings
        if (each.n_customers or 0) >= anonymous.FEWEST
    ]
    return told.model_copy(
        update={
            "note": anonymous.note(told.note),
            **_told_of(told, readings),
            "readings": readings,
            "segments": shown,
            "smallest_share": None if smallest is None or hidden else round(smallest, 3),
            "drift": told.drift and Drift(**anonymous.drift(told.drift.model_dump())),
        }
    )


def _told_of(told: AxisReport, readings: Sequence[AxisReading]) -> dict[str, Any]:
    """What an axis says of itself where a reading of it may not be shown: what the other says."""
    if len(readings) == len(told.readings):
        return {}
    shown = readings[0] if readings else None
    return {name: getattr(shown, name, None) for name in ("stability", "verdict", "says")}


def _hidden_reading(told: AxisReading, *, whole: bool) -> AxisReading:
    """whole : whether each of its segments may be shown"""
    return told.model_copy(
        update={
            "n_customers": None,
            "population_percentage": anonymous.share(told.population_percentage),
            "smallest_share": round(told.smallest_share, 3) if whole and told.smallest_share is not None else None,
        }
    )


# Lineage


async def lineage(resources: Resources, caller: Caller, *, axis: str | None, limit: int, cursor: str | None) -> Lineage:
    """What became of segments and archetypes, `limit` runs at a time, the latest first.

    Raises NothingPublished, or InvalidParameter for an axis that does not exist or a cursor of another list.
    """
    known = _axis_or_archetypes(axis)
    purpose = json.dumps(["lineage", caller.store_id, known])
    before = None if cursor is None else unseal(resources.secret, purpose, cursor)
    rows = await lineages.read_past_steps(
        resources.database, caller.store_id, axis=known, before=before, runs=limit + 1
    )
    if not rows:
        raise NothingPublished(caller.store_id)
    found = [row for row in rows if row["run_id"] is not None]
    run_ids = list(dict.fromkeys(row["run_id"] for row in found))
    page = [row for row in found if row["run_id"] in run_ids[:limit]]
    steps = [
        PastStep(
            **told,
            axis=row["axis"],
            run_id=row["run_id"],
            previous_run_id=row["previous_run_id"],
            as_of=_moment(row["as_of"]),
        )
        for row, told in await _told_steps(resources, caller, page)
    ]
    return Lineage(
        steps=steps,
        next_cursor=seal(resources.secret, purpose, run_ids[limit - 1]) if len(run_ids) > limit else None,
        run_id=rows[0]["served_run_id"],
        as_of=_moment(rows[0]["served_as_of"]),
    )


def _axis_or_archetypes(name: str | None) -> str | None:
    if name is None or name == lineages.ARCHETYPES:
        return name
    full = _full_name(name)
    if full is None:
        raise InvalidParameter("axis", f"takes the name of an axis, or '{lineages.ARCHETYPES}'")
    return full


async def _steps(
    resources: Resources, caller: Caller, run_id: int, *, axis: str, group_id: str | None = None
) -> list[Step]:
    """Into the run, on one axis or of archetypes."""
    rows = await lineages.read_steps(resources.database, caller.store_id, run_id, axis=axis, group_id=group_id)
    return [Step(**told) for _, told in await _told_steps(resources, caller, rows)]


async def _told_steps(resources: Resources, caller: Caller, rows: Sequence[Row]) -> list[tuple[Row, Mapping[str, Any]]]:
    """Each step with the fields of `Step`, without those that the caller may not see."""
    if caller.identified:
        return [(row, _step(row)) for row in rows]
    run_ids = {row["run_id"] for row in rows}
    large = await lineages.read_large_segments(resources.database, caller.store_id, run_ids, at_least=anonymous.FEWEST)
    return [
        (row, anonymous.step(_step(row), {(axis, name) for run_id, axis, name in large if run_id == row["run_id"]}))
        for row in rows
        if not _is_of_few(row)
    ]


def _is_of_few(row: Row) -> bool:
    """Whether the group then or the one now is too small to be shown."""
    counts = (row["previous_customers"], row["current_customers"])
    return any(count is not None and count < anonymous.FEWEST for count in counts)


def _step(row: Row) -> dict[str, Any]:
    return {
        "fate": row["fate"],
        "previous_id": row["previous_id"],
        "previous_name": row["previous_name"],
        "id": row["current_id"],
        "name": row["current_name"],
        "share_of_previous": row["share_of_previous"],
        "share_of_current": row["share_of_current"],
        "renamed": row["renamed"],
        "changes": json.loads(row["changes"]),
        "says": row["says"],
    }


def _amount(amount: Decimal) -> float:
    return float(amount)


def _recency(days: float | None, caller: Caller) -> float | None:
    """Of a group; None for those put together."""
    if days is None:
        return None
    return _mean(days) if caller.identified else anonymous.mean(days)


def _mean(value: float) -> float:
    """Of a mean or a share, what can be read."""
    return round(value, 2)


def _hundredths(value: float) -> float:
    """Of an agreement, what can be told apart from one draw to the next."""
    return round(value, 2)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
