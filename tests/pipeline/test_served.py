"""The rules of a run, read back: many customers placed at once stand where each stands alone, whoever else there is."""

from dataclasses import dataclass

import numpy as np
import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.errors import OutdatedRun
from app.pipeline.features import feature_values
from app.pipeline.ingest import ingest
from app.pipeline.placing import Standing
from app.pipeline.sample import SampleShop
from app.pipeline.served import ServedRun, served
from app.segmentation.membership import Array
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database
from app.warehouse.runs import served_run
from app.warehouse.stores import read_store
from tests.fakes import SECRET, execute, rows, segmented

STORE = "placed-shop"


@dataclass(frozen=True)
class Shop:
    """run : as served; values : of its customers, in their order; strangers : of customers like none of them"""

    run: ServedRun
    customers: list[str]
    values: dict[str, Array]
    strangers: dict[str, Array]


@pytest.fixture(scope="module")
async def shop(database: Database) -> Shop:
    source = SampleShop(customers=150)
    await ingest(database, source, store_id=STORE, timezone="UTC", currency="USD", pseudonym_secret=SECRET)
    await segmented(database, STORE, max_k=5, min_members=3)
    async with database.snapshot() as connection:
        published, store = await served_run(connection, STORE), await read_store(connection, STORE)
        run = await served(database, connection, STORE, published.run_id)
        behaviour = await read_behaviour(connection, STORE, as_of=published.as_of, timezone=store.timezone)
    values = feature_values(behaviour, as_of=published.as_of, timezone=store.timezone)
    rng = np.random.default_rng(4)
    # Everything of somebody else: ways to stand that no customer of the shop has.
    strangers = {name: rng.permutation(column) for name, column in values.items()}
    return Shop(run, behaviour.customer_ids, values, strangers)


def one_by_one(run: ServedRun, values: dict[str, Array]) -> Standing:
    alone = [
        run.place({name: column[number : number + 1] for name, column in values.items()})[1]
        for number in range(len(values["lifetime_value"]))
    ]
    return Standing(
        level1=[each.level1[0] for each in alone],
        level2=[each.level2[0] for each in alone],
        level3=[each.level3[0] for each in alone],
        fold_distance=np.concatenate([each.fold_distance for each in alone]),
    )


def assert_same_standing(one: Standing, other: Standing) -> None:
    for level in ("level1", "level2", "level3"):
        assert list(getattr(one, level)) == list(getattr(other, level)), level
    assert one.fold_distance.tolist() == other.fold_distance.tolist()


@pytest.mark.parametrize("whose", ["values", "strangers"])
def test_many_placed_at_once_stand_where_each_stands_alone(shop: Shop, whose: str) -> None:
    values = getattr(shop, whose)
    axes, together = shop.run.place(values)
    assert_same_standing(together, one_by_one(shop.run, values))
    assert len(set(together.level1)) > 5 and len(set(together.level3)) > len(set(together.level1))
    assert set(together.level1) <= set(shop.run.archetypes.level1)
    for level in (together.level2, together.level3):
        assert all(own.startswith(f"{kind}_") for own, kind in zip(level, together.level1, strict=True))
    for axis in axes:
        assert axis.memberships.sum(axis=1) == pytest.approx(np.ones(len(values["lifetime_value"])))


def test_the_order_of_customers_does_not_matter(shop: Shop) -> None:
    order = np.random.default_rng(1).permutation(len(shop.customers))
    _, straight = shop.run.place(shop.strangers)
    _, shuffled = shop.run.place({name: column[order] for name, column in shop.strangers.items()})
    expected = Standing(
        *([np.array(level)[order].tolist() for level in (straight.level1, straight.level2, straight.level3)]),
        fold_distance=straight.fold_distance[order],
    )
    assert_same_standing(shuffled, expected)


async def test_everyone_of_the_run_stands_where_it_placed_them(database: Database, shop: Shop) -> None:
    stored = await rows(
        database,
        "SELECT archetype_id, archetype_level2_id, archetype_level3_id, fold_distance "
        'FROM fact_customer_current WHERE store_id = :s ORDER BY customer_id COLLATE "C"',
        s=STORE,
    )
    _, standing = shop.run.place(shop.values)
    found = zip(standing.level1, standing.level2, standing.level3, standing.fold_distance.tolist(), strict=True)
    assert list(found) == stored
    assert (standing.fold_distance > 0).any()


async def test_nobodys_place_depends_on_how_many_are_there(database: Database, settings: Settings, shop: Shop) -> None:
    """A rescoring counts anew; where members have shifted, the rules are what they were."""
    another = Database(database.url, settings)  # that has not read the run yet
    async with database.transaction(keep=False) as connection:
        for level in (1, 2, 3):
            counts = f"UPDATE dim_archetype_l{level} SET member_count = 1000 - member_count WHERE store_id = :s"  # noqa: S608
            await connection.execute(text(counts), {"s": STORE})
        turned = await served(another, connection, STORE, shop.run.run.run_id)
    await another.close()
    assert list(turned.archetypes.level1) != list(shop.run.archetypes.level1)
    several = [forms for forms in shop.run.archetypes.level3.values() if len(forms) > 1 and all(s for s, _ in forms)]
    assert several  # a kind all of whose members lean somewhere, so that its largest form takes in the others
    rng = np.random.default_rng(8)
    for values in (shop.values, *({n: rng.permutation(c) for n, c in shop.values.items()} for _ in range(8))):
        assert_same_standing(turned.place(values)[1], shop.run.place(values)[1])
    assert turned.otherwise == shop.run.otherwise


async def test_a_run_that_does_not_say_which_form_takes_in_the_others_has_the_largest_do_it(
    database: Database, settings: Settings, shop: Shop
) -> None:
    """So it was before runs said it."""
    another = Database(database.url, settings)
    async with database.transaction(keep=False) as connection:
        unsaid = "UPDATE segmentation_runs SET report = report #- '{archetypes,level3_otherwise}' WHERE run_id = :r"
        await connection.execute(text(unsaid), {"r": shop.run.run.run_id})
        older = await served(another, connection, STORE, shop.run.run.run_id)
    await another.close()
    assert older.otherwise == shop.run.otherwise


async def test_a_run_is_read_once_and_an_outdated_one_says_so(database: Database, shop: Shop, store_id: str) -> None:
    async with database.snapshot() as connection:
        assert await served(database, connection, STORE, shop.run.run.run_id) is shop.run
    await execute(database, "INSERT INTO stores (store_id, timezone, currency) VALUES (:s, 'UTC', 'USD')", s=store_id)
    await execute(
        database,
        "INSERT INTO segmentation_runs (store_id, status, parameters, report, yardstick) "
        "VALUES (:s, 'published', '{}', '{\"axes\": []}', '{\"norms\": {}}')",
        s=store_id,
    )
    ((run_id,),) = await rows(database, "SELECT run_id FROM segmentation_runs WHERE store_id = :s", s=store_id)
    async with database.snapshot() as connection:
        with pytest.raises(OutdatedRun):
            await served(database, connection, store_id, run_id)
