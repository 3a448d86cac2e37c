"""What each side of a customer's behaviour adds to their risk: it adds up, and says what was planted."""

import numpy as np
import pytest

from app.prediction.churn import Past, predict_churn, train_churn
from app.prediction.explanation import explain_risk, typical_customer
from app.prediction.standing import GROUPS, NAMES
from tests.prediction.shops import OPENS, buy_till_you_die

SHOP = buy_till_you_die(2_000, days=500, seed=21)
KNOWN = OPENS + 450


@pytest.fixture(scope="module")
def model():
    return train_churn(Past(SHOP), KNOWN)


@pytest.fixture(scope="module")
def told(model):
    return predict_churn(model, SHOP, known=KNOWN)


def of_one(model, told, customer):
    who = np.array([customer])
    one = predict_churn(model, SHOP, known=KNOWN, customers=who)
    return one, explain_risk(
        model.chances, one.seen, typical_customer(told.seen), known=KNOWN, horizon_days=int(one.horizon_days[0])
    )


def test_contributions_and_the_typical_customer_add_up_to_the_risk(model, told) -> None:
    for customer in told.stands.customers[[3, 50, 700]]:
        one, explained = of_one(model, told, customer)
        assert explained.risk == pytest.approx(one.risk[0], abs=1e-6)
        assert explained.typical + sum(explained.by_group.values()) == pytest.approx(explained.risk, abs=1e-9)
        assert set(explained.by_group) == set(GROUPS)


def test_the_typical_customer_is_told_nothing_apart(model, told) -> None:
    typical = typical_customer(told.seen)
    seen = [np.array(values)[None, :] for values in typical]
    explained = explain_risk(model.chances, seen, typical, known=KNOWN, horizon_days=90)
    assert list(explained.by_group.values()) == pytest.approx([0.0] * len(GROUPS), abs=1e-12)


def test_who_is_long_overdue_is_so_by_their_recency(model, told) -> None:
    stands = told.stands
    regular = (stands.visits >= 4) & (stands.column("overdue") > 1.2)
    customer = stands.customers[np.flatnonzero(regular)[0]]
    _, explained = of_one(model, told, customer)
    assert max(explained.by_group, key=lambda name: explained.by_group[name]) == "recency"


def test_a_feature_that_is_in_no_group_is_of_segments() -> None:
    from app.prediction.explanation import SEGMENTS, _groups

    groups = _groups((*NAMES, "price:0"))
    assert groups[SEGMENTS] == {"price:0"}
