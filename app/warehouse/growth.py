"""What projections are made beside of what customers did, and the projections that are served."""

from collections.abc import Sequence

import polars as pl
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.copying import copy_out
from app.warehouse.engine import Database, Row, raw

_KIND_OF = "SELECT customer_id, archetype_id FROM fact_customer_standing WHERE store_id = $1 AND run_id = $2"
_KINDS = """
    SELECT archetype_id, name, member_count, total_ltv::float8, avg_ltv::float8 FROM dim_archetype_l1
    WHERE store_id = $1 AND run_id = $2 ORDER BY total_ltv DESC, archetype_id
"""


async def read_kind_of(connection: AsyncConnection, store_id: str, run_id: int) -> pl.DataFrame:
    """Everyone's archetype of level 1 in the run that is served: `customer_id`, `archetype_id`."""
    columns = dict.fromkeys(("customer_id", "archetype_id"), pl.String)
    return await copy_out(connection, _KIND_OF, (store_id, run_id), columns)


async def read_kinds(connection: AsyncConnection, store_id: str, run_id: int) -> Sequence[Row]:
    """The archetypes of level 1 of a run, worth most first."""
    found: Sequence[Row] = await (await raw(connection)).fetch(_KINDS, store_id, run_id)
    return found


_SERVED = """
    SELECT store.currency, store.timezone, store.served_run_id, run.prediction_id, run.as_of,
        run.report -> 'growth' AS growth, (
            SELECT jsonb_object_agg(model.name, jsonb_build_object(
                'candidate', model.candidate, 'version', model.version, 'status', model.status, 'why', model.why,
                'backtest', model.backtest, 'parameters', model.parameters))
            FROM prediction_models AS model
            WHERE model.store_id = store.store_id AND model.prediction_id = run.prediction_id
              AND model.name IN ('customers', 'revenue') AND model.status IN ('served', 'degraded')
        ) AS models
    FROM stores AS store JOIN prediction_runs AS run ON run.prediction_id = store.served_prediction_id
    WHERE store.store_id = $1
"""


async def read_projections(database: Database, store_id: str) -> Row | None:
    """The store, the training that is served, and what its models of growth are made of, as JSON text.

    None where nothing is served.
    """
    return await database.row(_SERVED, store_id)
