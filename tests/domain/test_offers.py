"""What to do about a customer: the documents' cases, and what no case may do."""

import re
from dataclasses import replace
from itertools import pairwise, product

import pytest

from app.core.errors import InvalidInput
from app.domain.offers import (
    MOST_PERCENT,
    POLICY,
    Action,
    Extra,
    FollowUp,
    Level,
    OfferPolicy,
    Reason,
    Recommendation,
    Terms,
    recommend,
)
from app.domain.value_tiers import Tier

EVERY = list(product(Level, Tier, Reason))


def idle(level: Level, reason: Reason, tier: Tier = Tier.standard) -> Recommendation:
    """The documents' customer: 3 orders for 179.42 within 250 days, the last 230 days ago."""
    return recommend(level, tier, n_orders=3, recency_days=230, usual_gap_days=10, reason=reason)


@pytest.mark.parametrize("level", [Level.high, Level.critical])
def test_who_is_about_to_leave_is_offered_fifteen_percent_and_no_manager_is_called(level: Level) -> None:
    found = idle(level, Reason.churn)
    assert found.action is Action.retain and found.discount
    assert (found.terms.percent, found.terms.up_to) == (15, 15)
    assert not found.terms.escalate and found.terms.follow_up is not FollowUp.manager
    assert found.terms.extras == ()


def test_a_recommendation_reads_as_a_person_would_say_it() -> None:
    assert idle(Level.high, Reason.churn).says == (
        "Ask what they need and offer 15 % off their next order. They have ordered 3 times, last 230 days ago (usually "
        "every 10 days); standard value, high risk of staying away."
    )
    assert idle(Level.high, Reason.complaint).says == (
        "Apologise and make it good with 15 to 20 % off their next order and free expedited shipping, and have a "
        "manager get in touch personally. They have ordered 3 times, last 230 days ago (usually every 10 days); "
        "standard value, high risk of staying away."
    )


@pytest.mark.parametrize("level", [Level.high, Level.critical])
def test_a_complaint_of_who_may_leave_is_made_good_and_followed_up_by_a_manager(level: Level) -> None:
    found = idle(level, Reason.complaint)
    assert found.action is Action.make_good
    assert (found.terms.percent, found.terms.up_to) == (15, 20)
    assert Extra.free_shipping in found.terms.extras
    assert found.terms.escalate and found.terms.follow_up is FollowUp.manager and found.terms.personal


def test_a_vip_about_to_leave_is_contacted_personally_with_twenty_percent_at_most() -> None:
    found = recommend(Level.critical, Tier.vip, n_orders=24, recency_days=90, usual_gap_days=24, reason=Reason.churn)
    assert found.terms.personal and found.terms.up_to == 20
    assert "personally" in found.says and "VIP" in found.says


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("reason", [Reason.churn, Reason.win_back, Reason.loyalty])
def test_who_will_come_back_anyway_is_thanked_without_a_discount(tier: Tier, reason: Reason) -> None:
    found = recommend(Level.low, tier, n_orders=8, recency_days=5, usual_gap_days=24, reason=reason)
    assert found.action is Action.thank and not found.discount and found.terms.up_to == 0
    assert found.says.startswith("Thank them, and suggest what goes with what they bought; no discount.")


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(("usual_gap_days", "recency_days"), [(None, 12), (45.0, 40), (None, 0)])
def test_a_new_customer_is_welcomed_without_a_discount(
    level: Level, usual_gap_days: float | None, recency_days: int
) -> None:
    new = {"n_orders": 1, "recency_days": recency_days, "usual_gap_days": usual_gap_days}
    found = recommend(level, Tier.standard, **new, reason=Reason.churn)  # type: ignore[arg-type]
    assert found.action is Action.welcome and not found.discount and found.terms.up_to == 0
    # What went wrong is put right all the same.
    assert recommend(level, Tier.standard, **new, reason=Reason.complaint).action is Action.make_good  # type: ignore[arg-type]


def test_one_order_long_ago_is_no_new_customer() -> None:
    found = recommend(Level.high, Tier.standard, n_orders=1, recency_days=200, usual_gap_days=None, reason=Reason.churn)
    assert found.action is Action.retain and found.discount
    assert found.says.endswith("They have ordered once, 200 days ago; standard value, high risk of staying away.")


def test_who_has_not_ordered_yet_is_welcomed_and_nothing_is_claimed_of_them() -> None:
    found = recommend(Level.low, Tier.low, n_orders=0, recency_days=None, usual_gap_days=None, reason=Reason.loyalty)
    assert found.action is Action.welcome
    assert found.says.endswith("They have not ordered yet.")


def test_no_discount_exceeds_the_cap_and_who_is_more_likely_to_leave_is_never_offered_less() -> None:
    order = [Level.low, Level.medium, Level.high, Level.critical]
    for tier, reason in product(Tier, Reason):
        terms = [POLICY.of(level, tier, reason) for level in order]
        assert all(0 <= each.percent <= each.up_to <= MOST_PERCENT for each in terms)
        for few, more in pairwise(terms):
            assert few.percent <= more.percent and few.up_to <= more.up_to


def test_who_is_worth_more_is_never_offered_less() -> None:
    for level, reason in product(Level, Reason):
        percents = [POLICY.of(level, tier, reason).percent for tier in (Tier.low, Tier.standard, Tier.high, Tier.vip)]
        assert percents == sorted(percents)


@pytest.mark.parametrize(("level", "tier", "reason"), EVERY)
def test_no_recommendation_claims_what_is_not_known(level: Level, tier: Tier, reason: Reason) -> None:
    found = idle(level, reason, tier)
    assert not re.search(r"stock|hurry|limited|only today|last chance|soon|while|!", found.says, re.IGNORECASE)
    assert found.says.count(". ") == 1
    offered = [int(each) for each in re.findall(r"(\d+) %", found.says)]
    assert all(each <= MOST_PERCENT for each in offered)
    assert bool(offered) == found.discount
    assert ("no discount" in found.says) == (not found.discount and not found.terms.extras)
    assert found.terms.escalate <= (found.terms.follow_up is FollowUp.manager)


def test_a_policy_over_the_cap_or_with_a_gap_is_refused() -> None:
    terms = {reason: {level: dict(POLICY.terms[reason][level]) for level in Level} for reason in Reason}
    OfferPolicy(terms)
    terms[Reason.churn][Level.high][Tier.vip] = Terms(20, 25)
    with pytest.raises(InvalidInput, match="between 0 and 20 %"):
        OfferPolicy(terms)
    del terms[Reason.churn][Level.high][Tier.vip]
    with pytest.raises(InvalidInput, match="says nothing of churn, high risk, vip value"):
        OfferPolicy(terms)


def test_another_policy_can_be_handed_in() -> None:
    generous = {
        reason: {level: {tier: replace(POLICY.of(level, tier, reason), up_to=20) for tier in Tier} for level in Level}
        for reason in Reason
    }
    found = recommend(
        Level.high,
        Tier.standard,
        n_orders=3,
        recency_days=230,
        usual_gap_days=10,
        reason=Reason.churn,
        policy=OfferPolicy(generous),
    )
    assert "15 to 20 % off" in found.says
