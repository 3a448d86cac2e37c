"""Archetypes and segments of the served run, as they are served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.core.errors import RunForgotten
from app.warehouse.engine import Database, Row

_SERVED = """
    SELECT store.store_id, store.currency, store.timezone, store.served_prediction_id, run.run_id, run.as_of
    FROM stores AS store JOIN segmentation_runs AS run ON run.run_id = store.served_run_id
    WHERE store.store_id = $1
"""
_TOP = f"""
    WITH served AS ({_SERVED})
    SELECT served.currency, served.timezone, served.served_prediction_id, served.as_of, kind.*
    FROM served JOIN dim_archetype_l1 AS kind ON kind.store_id = served.store_id AND kind.run_id = served.run_id
    ORDER BY kind.total_ltv DESC, kind.archetype_id
"""  # noqa: S608  put together from the constants above


async def read_archetypes(database: Database, store_id: str) -> Sequence[Row]:
    """Every level-1 archetype of the served run, worth most first; empty where nothing is served."""
    return await database.rows(_TOP, store_id)


_COMMON = """
    kind.store_id, kind.run_id, kind.archetype_id, kind.name, kind.slug, kind.description, kind.member_count,
    kind.population_percentage, kind.avg_ltv, kind.total_ltv, kind.avg_orders, kind.avg_order_value,
    kind.avg_recency_days
"""
# A kind of level 2 or 3 is its parent's, with something said beside it.
_ONE = f"""
    WITH served AS ({_SERVED}), kind AS (
        SELECT 1 AS level, NULL AS parent_id, kind.archetype_id AS level1_id, NULL AS strength_band,
            NULL::jsonb AS second_segments, {_COMMON}
        FROM dim_archetype_l1 AS kind JOIN served USING (store_id, run_id) WHERE kind.archetype_id = $2
        UNION ALL
        SELECT 2, kind.parent_id, kind.parent_id, kind.strength_band, NULL, {_COMMON}
        FROM dim_archetype_l2 AS kind JOIN served USING (store_id, run_id) WHERE kind.archetype_id = $2
        UNION ALL
        SELECT 3, kind.parent_id, kind.parent_id, NULL, kind.second_segments, {_COMMON}
        FROM dim_archetype_l3 AS kind JOIN served USING (store_id, run_id) WHERE kind.archetype_id = $2
        LIMIT 1
    )
    SELECT kind.*, served.currency, served.timezone, served.served_prediction_id, served.as_of,
        one.dominant_segments, one.key_traits, one.defined_by,
        (SELECT jsonb_agg(to_jsonb(sub) ORDER BY sub.member_count DESC, sub.archetype_id) FROM (
            SELECT archetype_id, name, slug, description, member_count, population_percentage, strength_band
            FROM dim_archetype_l2
            WHERE store_id = kind.store_id AND run_id = kind.run_id AND parent_id = kind.archetype_id
         ) AS sub) AS level2,
        (SELECT jsonb_agg(to_jsonb(sub) ORDER BY sub.member_count DESC, sub.archetype_id) FROM (
            SELECT archetype_id, name, slug, description, member_count, population_percentage, second_segments
            FROM dim_archetype_l3
            WHERE store_id = kind.store_id AND run_id = kind.run_id AND parent_id = kind.archetype_id
         ) AS sub) AS level3
    FROM served
    LEFT JOIN kind ON true
    LEFT JOIN dim_archetype_l1 AS one
      ON one.store_id = kind.store_id AND one.run_id = kind.run_id AND one.archetype_id = kind.level1_id
"""  # noqa: S608


async def read_archetype(database: Database, store_id: str, archetype_id: str) -> Row | None:
    """One archetype of any level with those under it; without an archetype_id where the run has none of that id.

    None where nothing is served.
    """
    return await database.row(_ONE, store_id, archetype_id)


_MEMBERS = """
    WITH served AS ({served})
    SELECT served.run_id, served.as_of, page.*
    FROM served LEFT JOIN LATERAL (
        SELECT standing.customer_id, named.pseudonym, customer.first_name, customer.last_name,
            standing.lifetime_value, standing.total_orders, standing.days_since_last_purchase,
            standing.cluster_confidence, standing.fold_distance
        FROM fact_customer_current AS standing
        JOIN customers AS customer USING (store_id, customer_id)
        JOIN customer_pseudonyms AS named USING (store_id, customer_id)
        WHERE standing.store_id = served.store_id AND standing.run_id = served.run_id
          AND {of_kind}
          AND ($3::numeric IS NULL OR standing.lifetime_value < $3
               OR (standing.lifetime_value = $3 AND named.pseudonym > $4))
        ORDER BY standing.lifetime_value DESC, named.pseudonym
        LIMIT $5
    ) AS page ON true
    ORDER BY page.lifetime_value DESC, page.pseudonym
"""
# An index finds those of level 1, and the others are among them.
_OF_LEVEL_1 = "standing.archetype_id = $2"
_OF_LEVEL = """standing.archetype_level{level}_id = $2 AND standing.archetype_id = (
              SELECT kind.parent_id FROM dim_archetype_l{level} AS kind
              WHERE kind.store_id = served.store_id AND kind.run_id = served.run_id AND kind.archetype_id = $2)"""
_MEMBERS_OF_LEVEL = {
    level: _MEMBERS.format(served=_SERVED, of_kind=of_kind)
    for level, of_kind in ((1, _OF_LEVEL_1), (2, _OF_LEVEL.format(level=2)), (3, _OF_LEVEL.format(level=3)))
}


async def read_members(
    database: Database,
    store_id: str,
    archetype_id: str,
    *,
    level: int,
    after: tuple[Decimal, str] | None,
    limit: int,
) -> Sequence[Row]:
    """Members of an archetype by lifetime value, the largest first; one row without a customer where none is left.

    after : lifetime value and pseudonym of the member that the page before ended with
    """
    value, pseudonym = after or (None, None)
    return await database.rows(_MEMBERS_OF_LEVEL[level], store_id, archetype_id, value, pseudonym, limit)


_REPORT = f"""
    WITH served AS ({_SERVED})
    SELECT served.run_id, served.as_of, run.report -> 'axes' AS axes
    FROM served JOIN segmentation_runs AS run USING (run_id)
"""  # noqa: S608


async def read_axes(database: Database, store_id: str) -> Row | None:
    """The axes of the served run as its report tells them, as JSON text; None where nothing is served."""
    return await database.row(_REPORT, store_id)


_RFM = f"""
    WITH served AS ({_SERVED})
    SELECT served.*, run.report -> 'rfm' AS rfm FROM served JOIN segmentation_runs AS run USING (run_id)
"""  # noqa: S608


async def read_rfm(database: Database, store_id: str) -> Row | None:
    """The RFM groups of the served run as its report tells them, as JSON text; None where nothing is served.

    rfm : None in a run of an older version
    """
    return await database.row(_RFM, store_id)


_FEW = """
    SELECT 'archetype' AS what, kind.archetype_id AS id, NULL AS axis, 1 AS level, kind.population_percentage
    FROM dim_archetype_l1 AS kind WHERE kind.store_id = $1 AND kind.run_id = $2 AND kind.member_count < $3
    UNION ALL
    SELECT 'archetype', kind.archetype_id, NULL, 2, kind.population_percentage
    FROM dim_archetype_l2 AS kind WHERE kind.store_id = $1 AND kind.run_id = $2 AND kind.member_count < $3
    UNION ALL
    SELECT 'archetype', kind.archetype_id, NULL, 3, kind.population_percentage
    FROM dim_archetype_l3 AS kind WHERE kind.store_id = $1 AND kind.run_id = $2 AND kind.member_count < $3
    UNION ALL
    SELECT 'segment', segment.segment_name, segment.axis_name, 0, segment.population_percentage
    FROM dim_segment_master AS segment
    WHERE segment.store_id = $1 AND segment.run_id = $2 AND segment.customer_count < $3
    UNION ALL
    SELECT 'rfm', told ->> 'group', NULL, 0, 100 * (told ->> 'share')::float8
    FROM segmentation_runs AS run, jsonb_array_elements(run.report -> 'rfm' -> 'groups') AS told
    WHERE run.store_id = $1 AND run.run_id = $2 AND (told ->> 'count')::int < $3
"""


# No row of a run that never was: a store without any shows no groups.
_IS_KEPT = """
    SELECT EXISTS (SELECT FROM dim_segment_master WHERE store_id = $1 AND run_id = $2) AS kept
    FROM segmentation_runs WHERE store_id = $1 AND run_id = $2
"""


@dataclass(frozen=True, slots=True)
class SmallGroups:
    """Groups of a run that have few customers.

    archetypes       : ids, of every level
    segments         : {axis: names}
    rfm              : names of RFM groups
    percentage       : of customers in the small archetypes of each level together, 0 to 100
    """

    archetypes: frozenset[str]
    segments: Mapping[str, frozenset[str]]
    rfm: frozenset[str]
    percentage: Mapping[int, float]


async def read_small_groups(database: Database, store_id: str, run_id: int, *, fewer_than: int) -> SmallGroups:
    """The archetypes of every level, the segments of every axis and the RFM groups with fewer customers than that.

    Raises RunForgotten where the run is there no more: of one of which nothing is known, nothing is known to be large.
    """
    known = await database.row(_IS_KEPT, store_id, run_id)
    if known is not None and not known["kept"]:
        raise RunForgotten
    archetypes: set[str] = set()
    segments: dict[str, frozenset[str]] = {}
    rfm: set[str] = set()
    percentage = dict.fromkeys((1, 2, 3), 0.0)
    for what, name, axis, level, share in await database.rows(_FEW, store_id, run_id, fewer_than):
        if what == "archetype":
            archetypes.add(name)
            percentage[level] += share
        elif what == "rfm":
            rfm.add(name)
        else:
            segments[axis] = segments.get(axis, frozenset()) | {name}
    return SmallGroups(frozenset(archetypes), segments, frozenset(rfm), percentage)


_ARCHETYPE_OBJECT = """
    SELECT archetype_id, name, description, member_count, population_percentage, dominant_segments, key_traits, profile
    FROM dim_archetype_l1 WHERE store_id = $1 AND run_id = $2 AND archetype_id = $3
"""


async def read_archetype_object(database: Database, store_id: str, run_id: int, archetype_id: str) -> Row | None:
    """What a profile says of a level-1 archetype: ready in `profile`, or the columns to tell it from."""
    return await database.row(_ARCHETYPE_OBJECT, store_id, run_id, archetype_id)
