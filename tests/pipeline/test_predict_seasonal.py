"""Who buys every autumn is not taken for lost in July: held against what is true of the sample shop's customers."""

from datetime import date

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from app.core.config import Settings
from app.pipeline.ingest import ingest
from app.pipeline.purchases import purchases_of
from app.pipeline.sample import SampleShop
from app.prediction.churn import LEVELS, Churn, Level, Past, predict_churn, train_churn
from app.prediction.purchases import Purchases
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database
from tests.conftest import own_tables
from tests.fakes import NOW, SECRET

STORE = "quilts"
JULY = (date(2024, 7, 1) - date(1970, 1, 1)).days
AUTUMN = (10, 11, 12)


class Quilts:
    """The sample shop as it stood in July, what was told then, and who its customers are."""

    def __init__(self, ids: list[str], shop: SampleShop, purchases: Purchases) -> None:
        truth = {each.customer_id: each for each in shop.truth()}
        with threadpool_limits(1):
            self.told: Churn = predict_churn(train_churn(Past(purchases), JULY), purchases, known=JULY)
        who = self.told.stands.customers
        self.purchases = purchases
        self.kind = np.array([truth[ids[each]].type_name for each in who])
        lapsed = [truth[ids[each]].lapsed_on for each in who]
        self.gone = np.array([each is not None and each <= date(2024, 7, 1) for each in lapsed])
        self.stays_away = purchases.next_visit(who, JULY) >= self.told.horizon_days


@pytest.fixture(scope="module")
async def quilts(embedded_url: str, settings: Settings) -> Quilts:
    shop = SampleShop(customers=8_000)
    async with own_tables(embedded_url, settings) as database:
        await ingest(database, shop, store_id=STORE, timezone="UTC", currency="USD", pseudonym_secret=SECRET)
        return await _read(database, shop)


async def _read(database: Database, shop: SampleShop) -> Quilts:
    async with database.snapshot() as connection:
        behaviour = await read_behaviour(connection, STORE, as_of=NOW, timezone="America/Chicago")
    return Quilts(behaviour.customer_ids, shop, purchases_of(behaviour))


def test_a_holiday_buyer_who_still_comes_is_mostly_no_critical_risk_off_season(quilts: Quilts) -> None:
    regular = (quilts.kind == "holiday quilter") & ~quilts.gone & (quilts.told.stands.visits >= 3)
    assert regular.sum() > 40
    critical = quilts.told.level[regular] == LEVELS.index(Level.critical)
    assert critical.mean() < 0.5
    # Their silence since winter is no more than that: next to who comes all year, it is told apart.
    as_silent = (quilts.told.stands.recency > 150) & (quilts.told.stands.visits >= 3)
    others = as_silent & (quilts.kind == "lapsed enthusiast")
    assert quilts.told.risk[regular & as_silent].mean() < quilts.told.risk[others].mean() - 0.05


def test_what_is_told_of_them_is_not_far_from_what_came(quilts: Quilts) -> None:
    mine = (quilts.kind == "holiday quilter") & (quilts.told.stands.visits >= 2)
    assert quilts.told.risk[mine].mean() == pytest.approx(quilts.stays_away[mine].mean(), abs=0.15)


def test_their_horizon_reaches_the_next_autumn(quilts: Quilts) -> None:
    mine = (quilts.kind == "holiday quilter") & (quilts.told.stands.visits >= 2)
    assert np.median(quilts.told.horizon_days[mine]) > 180
