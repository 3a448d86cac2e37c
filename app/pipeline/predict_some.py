"""Some customers told anew by the models that are served, and why one is told what they are."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from app.core.errors import CustomerNotFound, NothingPredicted, OutdatedPredictions
from app.pipeline.features import feature_values, features_of_one
from app.pipeline.predict import PARAMETERS_FORMAT, columns_of, known_day
from app.pipeline.purchases import purchases_of
from app.pipeline.run import latest_as_of
from app.pipeline.tastes import TasteRules, taste_rules_from
from app.prediction.chances import ChanceModel, Segments, chance_model_from
from app.prediction.churn import Churn, predict_churn
from app.prediction.explanation import explain_risk
from app.prediction.purchases import Purchases
from app.prediction.value import SpendModel, spend_model_from
from app.segmentation.membership import Array
from app.warehouse import predictions
from app.warehouse.behaviour import Behaviour, read_behaviour_of, read_behaviour_of_one
from app.warehouse.engine import Connection, Database
from app.warehouse.stores import Store, read_store

_KEPT = 8


@dataclass(frozen=True, slots=True)
class ServedModels:
    """What tells a store's customers. typical : of each step the shop's typical customer, for explanations"""

    prediction_id: int
    chances: ChanceModel
    tastes: TasteRules | None
    typical: Sequence[Sequence[float]]
    fixed_horizon: int | None
    spend: SpendModel | None


# A published training never changes, so what was read of one stays true; databases count theirs each for itself.
_known: WeakKeyDictionary[Database, OrderedDict[int, ServedModels]] = WeakKeyDictionary()


async def models_of(
    database: Database, connection: Connection, store_id: str, prediction_id: int | None
) -> ServedModels:
    """Those of a training, from memory where this process has met them before.

    prediction_id : None where none is served. Raises NothingPredicted or OutdatedPredictions
    """
    if prediction_id is None:
        raise NothingPredicted(store_id)
    known = _known.setdefault(database, OrderedDict())
    if prediction_id not in known:
        stored = await predictions.read_parameters(connection, store_id, prediction_id)
        churn, spend = stored["churn"], stored.get("spend")
        if churn.get("format") != PARAMETERS_FORMAT:
            raise OutdatedPredictions(store_id)
        known[prediction_id] = ServedModels(
            prediction_id=prediction_id,
            chances=chance_model_from(churn["chances"]),
            tastes=None if churn["tastes"] is None else taste_rules_from(churn["tastes"]),
            typical=churn["typical"],
            fixed_horizon=churn["fixed_horizon"],
            spend=None if spend is None else spend_model_from(spend),
        )
        if len(known) > _KEPT:
            known.popitem(last=False)
    known.move_to_end(prediction_id)
    return known[prediction_id]


async def predict_some(
    database: Database,
    connection: Connection,
    store: Store,
    customer_ids: Sequence[str],
    *,
    as_of: datetime,
    behaviour: Behaviour | None = None,
    values: Mapping[str, Array] | None = None,
) -> int:
    """Tell some customers anew from their records before a moment, in the caller's transaction; returns how many.

    behaviour, values : of these customers, and its `feature_values`, where it has been read and measured already

    Nothing is done where nothing is served, or what is was trained by another version: what that told stays until the
    next training. Whoever has no order any more is told nothing.
    """
    prediction_id = await predictions.hold_served(connection, store.store_id)
    if prediction_id is None:
        return 0
    if behaviour is None:
        behaviour = await read_behaviour_of(
            connection, store.store_id, customer_ids, as_of=as_of, timezone=store.timezone
        )
    gone = set(customer_ids) - set(behaviour.customer_ids)
    if gone:
        await predictions.remove(connection, store.store_id, gone)
    try:
        models = await models_of(database, connection, store.store_id, prediction_id)
    except OutdatedPredictions:
        return 0
    if behaviour.customer_ids:
        columns = await asyncio.to_thread(_columns, models, behaviour, store, as_of=as_of, values=values)
        await predictions.replace(connection, store.store_id, models.prediction_id, columns)
    return len(behaviour.customer_ids)


def _columns(
    models: ServedModels,
    behaviour: Behaviour,
    store: Store,
    *,
    as_of: datetime,
    values: Mapping[str, Array] | None,
) -> dict[str, list[Any]]:
    purchases, known = purchases_of(behaviour), known_day(as_of, store.timezone)
    told = _told(models, behaviour, purchases, store, as_of=as_of, values=values)
    return columns_of(behaviour.customer_ids, purchases, told, models.spend, known=known, as_of=as_of)


def _told(
    models: ServedModels,
    behaviour: Behaviour,
    purchases: Purchases,
    store: Store,
    *,
    as_of: datetime,
    values: Mapping[str, Array] | None = None,
) -> Churn:
    segments = None
    if models.tastes is not None:
        if values is None:
            measure = features_of_one if len(behaviour.customer_ids) == 1 else feature_values
            values = measure(behaviour, as_of=as_of, timezone=store.timezone)
        placed = models.tastes.place(values)
        segments = Segments(models.tastes.names, lambda _, customers: placed[customers])
    return predict_churn(
        models.chances,
        purchases,
        known=known_day(as_of, store.timezone),
        segments=segments,
        fixed_horizon=models.fixed_horizon,
    )


async def explain_churn(
    database: Database, store_id: str, customer_id: str, *, now: datetime, as_of: datetime | None = None
) -> dict[str, Any]:
    """What each side of a customer's behaviour adds to their risk, plain enough for JSON.

    as_of   : of the score that is explained; None for what is known by now
    returns : churn_risk_score, horizon_days, typical_customer (their risk over the same horizon) and by_group, which
              add up to the score

    Raises StoreNotFound, NothingPredicted, OutdatedPredictions, or CustomerNotFound for an id without an order.
    """
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        prediction_id = await predictions.served_id(connection, store_id)
        models = await models_of(database, connection, store_id, prediction_id)
        moment = as_of or await latest_as_of(connection, store, now=now)
        behaviour = await read_behaviour_of_one(
            connection, store_id, customer_id, as_of=moment, timezone=store.timezone
        )
    if not behaviour.customer_ids:
        raise CustomerNotFound(customer_id, store_id=store_id)
    return await asyncio.to_thread(_explained, models, behaviour, store, as_of=moment)


def _explained(models: ServedModels, behaviour: Behaviour, store: Store, *, as_of: datetime) -> dict[str, Any]:
    told = _told(models, behaviour, purchases_of(behaviour), store, as_of=as_of)
    horizon = int(told.horizon_days[0])
    found = explain_risk(
        models.chances, told.seen, models.typical, known=known_day(as_of, store.timezone), horizon_days=horizon
    )
    return {
        "churn_risk_score": found.risk,
        "horizon_days": horizon,
        "typical_customer": found.typical,
        "by_group": dict(sorted(found.by_group.items(), key=lambda item: -abs(item[1]))),
        "prediction_id": models.prediction_id,
    }
