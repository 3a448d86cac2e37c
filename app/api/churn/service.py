"""The risk of a shop's customers: counted and summed up, and one after the other, in the caller's view."""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

from app.api import anonymous, foretold
from app.api.churn.charts import level_chart
from app.api.churn.schemas import (
    AtRisk,
    AtRiskArchetype,
    AtRiskCustomer,
    ChurnAggregate,
    Distribution,
    Interval,
    LevelCount,
    LtvAtRisk,
    Sort,
    TierRisk,
)
from app.api.foretold import Model
from app.core.cursors import seal, unseal
from app.core.errors import InvalidParameter, NothingPredicted, NothingPublished
from app.core.keys import Caller
from app.domain.intervals import WITHIN_95, share_interval
from app.domain.value_tiers import TIERS
from app.resources import Resources
from app.warehouse import predictions
from app.warehouse.archetypes import SmallGroups, read_archetype
from app.warehouse.engine import Row
from app.warehouse.predictions import ServedChurn

#: The riskiest first.
LEVELS = ("critical", "high", "medium", "low")
#: Levels that count as being at risk.
AT_RISK = ("critical", "high")
_INTERVAL = 0.95
_TIER_WORDS = {"vip": "VIP", "high": "High value", "standard": "Standard", "low": "Low value"}


@dataclass(frozen=True, slots=True)
class _Sums:
    """What customers come to.

    n : customers; away, away_squared : {days: sum of the chances of no order, and of their squares}
    """

    n: int
    away: dict[int, float]
    away_squared: dict[int, float]
    ltv_at_risk: Decimal
    ahead: Decimal | None


def _sums(rows: Sequence[Row]) -> _Sums:
    ahead = [row["predicted_ltv_12m"] for row in rows if row["predicted_ltv_12m"] is not None]
    return _Sums(
        n=sum(row["n"] for row in rows),
        away={days: math.fsum(row[f"away_{days}"] for row in rows) for days in (30, 90)},
        away_squared={days: math.fsum(row[f"away_{days}_squared"] for row in rows) for days in (30, 90)},
        ltv_at_risk=sum((row["ltv_at_risk"] for row in rows), Decimal(0)),
        ahead=sum(ahead, Decimal(0)) if ahead or not rows else None,
    )


# Everybody


async def aggregate(resources: Resources, caller: Caller, *, sample: int | None) -> ChurnAggregate:
    """sample : so many drawn by chance; of who may not count people it is not taken, as its size would be a count

    Raises NothingPredicted.
    """
    whole = caller.identified
    rows = await predictions.read_risk_totals(resources.database, caller.store_id, sample=sample if whole else None)
    if not rows:
        raise NothingPredicted(caller.store_id)
    about = rows[0]
    served = await foretold.churn_model(resources, caller.store_id, about["prediction_id"])
    counted = [row for row in rows if row["risk_level"] is not None]
    of_all = _sums(counted)
    total = about["of_all"]
    drawn = total if of_all.n >= total else of_all.n
    by_level = {level: _sums([row for row in counted if row["risk_level"] == level]) for level in LEVELS}
    estimates = {days: _expected(of_all, days, total, off=_off(served, days)) for days in (30, 90)}
    tiers = _tiers(counted, total=total, drawn=of_all.n, whole=whole)
    levels = _distribution(by_level, total=total, whole=whole)
    percents = {level: getattr(levels, level).percentage for level in LEVELS}
    named = [(_TIER_WORDS[each.ltv_tier], each.percentages) for each in tiers if each.ltv_tier is not None]
    return ChurnAggregate(
        total_customers=total if whole else None,
        sample_size=drawn if whole else None,
        churn_risk_distribution=levels,
        **_of_days(30, *estimates[30], total=total, whole=whole),
        **_of_days(90, *estimates[90], total=total, whole=whole),
        ltv_at_risk=_ltv_at_risk([row for row in counted if row["risk_level"] in AT_RISK], total, of_all.n, whole),
        by_value_tier=tiers,
        note=_note(served, drawn=drawn, total=total, whole=whole),
        chart=level_chart([("Everybody", {**percents, "other": levels.other}), *named]),
        model=_model(served),
        **_served(about),
    )


def _too_few(total: int) -> bool:
    """Whether even what is told of everybody would tell of one."""
    return total < anonymous.FEWEST


def _expected(of: _Sums, days: int, total: int, *, off: float | None) -> tuple[float, float]:
    """How many of all customers will not order, and how far that may be off either way.

    By chance, as each is a coin of their own; where only some were drawn, by the draw; and by as much as the sum of
    chances was off on the shop's own past (off, a share of customers).
    """
    if not of.n:
        return 0.0, 0.0
    mean, square = of.away[days] / of.n, of.away_squared[days] / of.n
    by_chance = total * max(mean - square, 0.0)
    by_draw = 0.0
    if 1 < of.n < total:
        by_draw = total**2 * max(square - mean**2, 0.0) / (of.n - 1) * (1 - of.n / total)
    return total * mean, WITHIN_95 * math.sqrt(by_chance + by_draw) + total * (off or 0.0)


def _off(served: ServedChurn | None, days: int) -> float | None:
    """By what share of customers the sum of chances was off on the shop's past; None where it was not tried."""
    proofs = {} if served is None else foretold.horizons(served.backtest)
    bins = next((found for name in (f"{days}d", "30d") if (found := proofs.get(name, {}).get("reliability"))), None)
    if bins is None:
        return None
    wrong: float = sum(each["n"] * (each["mean_predicted"] - each["observed"]) for each in bins)
    return float(abs(wrong) / sum(each["n"] for each in bins))


def _of_days(days: int, expected: float, reach: float, *, total: int, whole: bool) -> dict[str, Any]:
    """The fields of a horizon. The interval is a count, and as a share of customers it would tell how many they are."""
    share = expected / total if total else 0.0
    interval = Interval(
        low=round(max(0.0, expected - reach), 1), high=round(min(float(total), expected + reach), 1), level=_INTERVAL
    )
    name = f"estimated_churn_{days}_days"
    return {
        name: round(expected, 1) if whole else None,
        f"{name}_interval": interval if whole else None,
        f"{name}_share": round(share, 6) if whole else None if _too_few(total) else anonymous.chance(share),
    }


def _distribution(by_level: dict[str, _Sums], *, total: int, whole: bool) -> Distribution:
    if not whole and _too_few(total):
        hidden = LevelCount(count=None, percentage=None, estimated_total=None, estimated_total_interval=None)
        return Distribution(**dict.fromkeys(by_level, hidden), other=None)
    counted = sum(each.n for each in by_level.values())
    few = {level for level, each in by_level.items() if not whole and 0 < each.n < anonymous.FEWEST}
    told = {
        level: _level(each.n, counted, total, hidden=not whole, few=level in few) for level, each in by_level.items()
    }
    other = sum(by_level[level].n for level in few)
    return Distribution(**told, other=anonymous.share(100 * other / counted) if other else None)


def _level(n: int, counted: int, total: int, *, hidden: bool, few: bool) -> LevelCount:
    percentage = 100 * n / counted if counted else 0.0
    if hidden:
        shown = None if few else anonymous.share(percentage)
        return LevelCount(count=None, percentage=shown, estimated_total=None, estimated_total_interval=None)
    interval = None
    if counted < total:
        low, high = share_interval(n, counted)
        interval = Interval(low=math.floor(low * total), high=math.ceil(high * total), level=_INTERVAL)
    return LevelCount(
        count=n,
        percentage=round(percentage, 2),
        estimated_total=round(total * n / counted) if counted else 0,
        estimated_total_interval=interval,
    )


def _ltv_at_risk(rows: Sequence[Row], total: int, counted: int, whole: bool) -> LtvAtRisk:
    """Of these, as many times as everybody is of those counted. Of few it is not told."""
    of = _sums(rows)
    if not whole and of.n < anonymous.FEWEST:
        return LtvAtRisk(historic=None, predicted_12m=None)
    times = total / counted if counted else 1.0
    amounts = (float(of.ltv_at_risk) * times, None if of.ahead is None else float(of.ahead) * times)
    historic, ahead = (
        None if amount is None else round(amount, 2) if whole else anonymous.about(amount) for amount in amounts
    )
    return LtvAtRisk(historic=historic, predicted_12m=ahead)


def _tiers(rows: Sequence[Row], *, total: int, drawn: int, whole: bool) -> list[TierRisk]:
    told = []
    for tier in (*(each.value for each in TIERS), None):
        of_tier = [row for row in rows if row["ltv_tier"] == tier]
        n = sum(row["n"] for row in of_tier)
        if not n or (not whole and n < anonymous.FEWEST):
            continue
        counts = {level: sum(row["n"] for row in of_tier if row["risk_level"] == level) for level in LEVELS}
        told.append(
            TierRisk(
                ltv_tier=tier,
                count=n if whole else None,
                percentages={level: _percentage(count, n, whole=whole) for level, count in counts.items()},
                ltv_at_risk=_ltv_at_risk([row for row in of_tier if row["risk_level"] in AT_RISK], total, drawn, whole),
            )
        )
    return told


def _percentage(count: int, of: int, *, whole: bool) -> float | None:
    if not whole and 0 < count < anonymous.FEWEST:
        return None
    return round(100 * count / of, 2 if whole else 0)


def _note(served: ServedChurn | None, *, drawn: int, total: int, whole: bool) -> str:
    if not whole:
        told = ["Everybody is counted, and told in shares."]
        if _too_few(total):
            told = [f"Fewer than {anonymous.FEWEST} customers have an order: nothing is told of so few."]
    elif drawn < total:
        told = [f"{drawn:,} of {total:,} customers, drawn by a digest of their ids, are counted; totals are estimates."]
    else:
        told = [f"Everybody is counted: {total:,} customer{'' if total == 1 else 's'} with an order."]
    told.append(
        "A level is of the chance of no order within a customer's own horizon; the 30 and 90 days are sums of chances."
    )
    off = _off(served, 30)
    if whole:
        told.append(
            "Intervals allow for chance alone: the model could not be tried on the shop's past yet."
            if off is None
            else f"Intervals allow for chance and for what the sum was off on the shop's past, {100 * off:.1f} % of "
            "customers over 30 days."
        )
    return " ".join(told)


# One after the other


async def at_risk(
    resources: Resources,
    caller: Caller,
    *,
    levels: Collection[str],
    min_ltv: float | None,
    archetype_id: str | None,
    sort: Sort,
    limit: int,
    cursor: str | None,
) -> AtRisk:
    """levels : those at risk where none is asked for

    Raises NothingPredicted, NothingPublished where a kind is asked for before there are any, or InvalidParameter also
    for a cursor of another list or of earlier predictions.
    """
    asked = [level for level in LEVELS if level in (levels or AT_RISK)]
    whole = caller.identified
    if archetype_id is not None:
        await _must_be_shown(resources, caller, archetype_id)
    if not whole:
        limit, cursor = min(limit, anonymous.LISTED), None
    purpose = json.dumps(["at-risk", caller.store_id, asked, min_ltv, archetype_id, sort.value])
    after = version = None
    if cursor is not None:
        *version, key, pseudonym = unseal(resources.secret, purpose, cursor)
        after = (Decimal(key), pseudonym)
    rows = await predictions.read_at_risk(
        resources.database,
        caller.store_id,
        levels=asked,
        min_ltv=None if min_ltv is None else Decimal(repr(min_ltv)),
        archetype_id=archetype_id,
        sort=sort.value,
        after=after,
        limit=limit + 1,
    )
    if not rows:
        raise NothingPredicted(caller.store_id)
    about = rows[0]
    if version is not None and version != [about["prediction_id"], about["run_id"]]:
        raise InvalidParameter("cursor", "the shop has been predicted or segmented anew; begin with the first page")
    found = [row for row in rows if row["customer_id"] is not None]
    # Few who match are told to nobody who may not count people: they would stand there by themselves.
    few = not whole and about["n"] < anonymous.FEWEST
    page, more = ([], False) if few else (found[:limit], whole and len(found) > limit)
    resources.audit.read(caller, "customers.at_risk", [row["pseudonym"] for row in page])
    small = None if whole else await anonymous.small_groups(resources, caller.store_id, about["run_id"] or 0)
    served = await foretold.churn_model(resources, caller.store_id, about["prediction_id"])
    position = [about["prediction_id"], about["run_id"]]
    return AtRisk(
        customers=[_customer(row, small) for row in page],
        **_totals(about, whole=whole, few=few),
        levels=asked,
        sort=sort,
        next_cursor=seal(resources.secret, purpose, [*position, str(page[-1]["key"]), page[-1]["pseudonym"]])
        if more
        else None,
        message=_nobody(few=few) if not page else None,
        model=_model(served),
        **_served(about),
    )


async def _must_be_shown(resources: Resources, caller: Caller, archetype_id: str) -> None:
    row = await read_archetype(resources.database, caller.store_id, archetype_id)
    if row is None:
        raise NothingPublished(caller.store_id)
    if row["archetype_id"] is None or (not caller.identified and row["member_count"] < anonymous.FEWEST):
        raise InvalidParameter(
            "archetype_id", "there is no such kind of customer; GET /api/mcp/archetypes/top lists those of level 1"
        )


def _totals(about: Row, *, whole: bool, few: bool) -> dict[str, Any]:
    names = ("total_ltv", "total_ltv_at_risk", "total_predicted_ltv_12m")
    if few:
        return {"count": None, "share": None, **dict.fromkeys(names)}
    amounts = {name: None if about[name] is None else float(about[name]) for name in names}
    share = about["n"] / about["of_all"] if about["of_all"] else 0.0
    if whole:
        rounded = {name: None if amount is None else round(amount, 2) for name, amount in amounts.items()}
        return {"count": about["n"], "share": round(share, 6), **rounded}
    rounded = {name: None if amount is None else anonymous.about(amount) for name, amount in amounts.items()}
    return {"count": None, "share": anonymous.chance(share), **rounded}


def _nobody(*, few: bool) -> str:
    if few:
        return f"They are fewer than {anonymous.FEWEST} customers, and not listed, so that nobody can be singled out."
    return "Nobody matches."


def _customer(row: Row, small: SmallGroups | None) -> AtRiskCustomer:
    """small : kinds that may not be shown; None for who may see everything"""
    kind = None
    if row["archetype_id"] is not None:
        hidden = small is not None and row["archetype_id"] in small.archetypes
        kind = AtRiskArchetype(
            id=anonymous.OTHER_ID if hidden else row["archetype_id"],
            name=anonymous.OTHER_NAME if hidden else row["archetype_name"] or row["archetype_id"],
        )
    name = " ".join(part for part in (row["first_name"], row["last_name"]) if part) or None
    return AtRiskCustomer(
        customer_id=row["customer_id"] if small is None else row["pseudonym"],
        name=name if small is None else None,
        email=row["email"] if small is None else None,
        archetype=kind,
        risk_level=row["risk_level"],
        churn_risk_score=row["churn_risk_score"],
        ltv=_amount(row["ltv"]),
        ltv_at_risk=_amount(row["ltv_at_risk"]),
        predicted_ltv_12m=None if row["predicted_ltv_12m"] is None else _amount(row["predicted_ltv_12m"]),
        ltv_tier=row["ltv_tier"],
        total_orders=row["total_orders"],
        days_since_last_purchase=row["days_since_last_purchase"],
    )


# What every answer says of where it comes from


def _served(about: Row) -> dict[str, Any]:
    return {
        **{name: about[name] for name in ("currency", "timezone", "run_id", "prediction_id")},
        "as_of": about["as_of"].astimezone(UTC).isoformat(),
    }


def _model(served: ServedChurn | None) -> Model | None:
    told = foretold.model_of(served)
    return None if told is None else Model(**told)


def _amount(amount: Decimal) -> float:
    return round(float(amount), 4)
