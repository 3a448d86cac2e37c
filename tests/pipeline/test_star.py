"""What a run writes: rows that agree with each other and with what was found."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.domain.features import FEATURES, METRICS
from app.domain.profile_form import BETWEEN, STRENGTH_WORDS
from app.domain.rfm import GROUPS
from app.domain.value_tiers import TierMode
from app.pipeline.placing import Standing
from app.pipeline.profile_text import profile_form
from app.pipeline.report import run_report
from app.pipeline.star import customer_row, placed, star_of
from app.pipeline.yardstick import Yardstick, yardstick_of
from app.segmentation.archetypes import BANDS
from app.segmentation.axes import AXES, Need, Source, axes_named
from app.segmentation.clustering import KRange, fitted_axis
from app.segmentation.discovery import Discovery, DiscoveryOptions, discover
from app.segmentation.membership import Array
from app.segmentation.readings import Reading, memberships_in
from app.warehouse.stores import Store
from tests.fakes import assert_alike
from tests.segmentation.earlier import earlier_of

DAY, AS_OF = date(2025, 10, 22), datetime(2025, 10, 23, 5, tzinfo=UTC)
STRENGTHS = {"strong", "moderate", "balanced", "weak"}


def made_up_shop(n_customers: int, *, n_types: int, seed: int = 0) -> dict[str, Array]:
    """Metrics and features of a shop where most customers are of one of a few types, and some wander between two.

    Half of them have tickets enough to be read from them, more of some types than of others.
    """
    rng = np.random.default_rng(seed)
    kind, other = rng.integers(0, n_types, n_customers), rng.integers(0, n_types, n_customers)
    values = {}
    for name in FEATURES:
        level = rng.permutation(np.linspace(0.05, 0.95, n_types))
        wander = np.where(rng.random(n_customers) < 0.15, rng.uniform(0.3, 0.55, n_customers), 0.0)
        values[name] = level[kind] * (1 - wander) + level[other] * wander + rng.normal(0, 0.02, n_customers)
    orders = 1.0 + rng.poisson(2 * kind)
    # Sums of cents as floats add them up, with all their rounding errors.
    spent = [sum(rng.integers(1, 9_999, int(count)) / 100) for count in orders]
    values["total_orders"], values["lifetime_value"] = orders, np.array(spent)
    values["avg_order_value"] = values["lifetime_value"] / orders
    values["recency_days"] = np.floor(rng.exponential(90, n_customers))
    values["tenure_days"] = values["recency_days"] + 50 * kind
    asking = rng.random(n_customers) < 0.3 + 0.4 * kind / n_types
    values["total_tickets"] = np.where(asking, np.round(2 + 20 * values["total_tickets"].clip(0)), kind % 2)
    assert set(values) == {*METRICS, *FEATURES}
    return values


@dataclass(frozen=True)
class Run:
    discovery: Discovery
    values: dict[str, Array]
    ids: list[str]
    star: dict[str, pl.DataFrame]
    yardstick: Yardstick

    @property
    def standings(self) -> pl.DataFrame:
        return self.star["fact_customer_current"]

    @cached_property
    def facts(self) -> pl.DataFrame:
        """What `fact_customer_current` tells: standings, and the names of the segments they hold the places of."""
        segments, dominant, strengths = self.segments, [], []
        for row in self.standings.iter_rows(named=True):
            tops = [segments[place - 1] for place in row["dominant"]]
            clear = row["profile"].split(BETWEEN)[3]
            dominant.append(json.dumps({top["axis_name"]: top["segment_name"] for top in tops}))
            words = {top["axis_name"]: STRENGTH_WORDS[int(digit)] for top, digit in zip(tops, clear, strict=True)}
            strengths.append(json.dumps(words))
        return self.standings.with_columns(
            dominant_segments=pl.Series(dominant), membership_strengths=pl.Series(strengths)
        )

    @cached_property
    def segments(self) -> list[dict[str, Any]]:
        """In the order of their places."""
        segments = self.star["dim_segment_master"].sort("place").to_dicts()
        assert [each["place"] for each in segments] == list(range(1, len(segments) + 1))
        return segments

    @cached_property
    def profiles(self) -> pl.DataFrame:
        """What `customer_profiles` tells: the names that the segments give to the numbers of each row."""
        form = profile_form([placed(axis) for axis in self.discovery.axes], self.yardstick)
        told = []
        for row in self.standings.iter_rows(named=True):
            shares: dict[str, dict[str, float]] = {}
            for segment, share in zip(self.segments, row["memberships"], strict=True):
                shares.setdefault(segment["axis_name"], {})[segment["segment_name"]] = share
            tops = [self.segments[place - 1] for place in row["dominant"]]
            vectors = {}
            for top in tops:
                read_by = json.loads(top["scaler_params"])["features"]
                first = top["first_feature"] - 1
                mine = row["features"][first : first + len(read_by)]
                vectors[top["axis_name"]] = dict(zip(read_by, mine, strict=True))
            told.append(
                {
                    "customer_id": row["customer_id"],
                    "segment_memberships": json.dumps(shares),
                    "feature_vectors": json.dumps(vectors),
                    "interpretation": ", ".join(top["segment_name"] for top in tops),
                    "profile": form.filled(row["profile"], row["memberships"], row["dominant"]),
                }
            )
        return pl.DataFrame(told)


def run_of(values: dict[str, Array], *, axes: list[str] | None = None, after: Run | None = None, **options: Any) -> Run:
    """after : the run that is served, which it goes on from"""
    chosen = DiscoveryOptions(**{"k_range": KRange(2, 3), **options})
    earlier = None if after is None else earlier_of(after.discovery, after.star)
    found = discover("shop", values, axes_named(axes), available=frozenset(Need), options=chosen, earlier=earlier)
    ids = [f"C{number:05d}" for number in range(len(values["total_orders"]))]
    yardstick = yardstick_of(found.axes, values, TierMode.percentile)
    star, customers = star_of(found, ids, values, snapshot=DAY, as_of=AS_OF, yardstick=yardstick)
    star["fact_customer_current"] = customers()
    return Run(found, values, ids, star, yardstick)


def shapeless(n_customers: int) -> dict[str, Array]:
    """Everyone alike in all their features."""
    return made_up_shop(n_customers, n_types=2) | {name: np.full(n_customers, 0.5) for name in FEATURES}


@pytest.fixture(
    scope="module",
    params=["several kinds", "a later run", "one axis", "no structure", "one customer", "everyone their own kind"],
)
def run(request: pytest.FixtureRequest) -> Run:
    made = {
        "several kinds": lambda: run_of(made_up_shop(400, n_types=4)),
        "a later run": lambda: run_of(
            made_up_shop(400, n_types=4, seed=1), after=run_of(made_up_shop(400, n_types=3, seed=0))
        ),
        "one axis": lambda: run_of(made_up_shop(150, n_types=3), axes=["cadence"]),
        "no structure": lambda: run_of(shapeless(120), axes=["cadence", "returns"]),
        "one customer": lambda: run_of(shapeless(1)),
        "everyone their own kind": lambda: run_of(made_up_shop(60, n_types=3), archetype_min_members=1),
    }
    return made[request.param]()


def parsed(column: pl.Series) -> list[dict[str, Any]]:
    return [json.loads(text) for text in column]


def elements(literal: str) -> list[str]:
    """Of a Postgres array literal."""
    assert re.fullmatch(r"\{[^{}\"\\ ]*\}", literal)
    return literal[1:-1].split(",") if literal != "{}" else []


def test_every_customer_has_one_fact_one_profile_and_one_day_of_history(run: Run) -> None:
    history = run.star["fact_customer_history"]
    for table in (run.facts, run.profiles, history):
        assert table["customer_id"].to_list() == run.ids
        assert table.null_count().sum_horizontal().item() == 0
    for column in ("archetype_id", "archetype_level2_id", "archetype_level3_id", "lifetime_value", "total_orders"):
        assert history[column].equals(run.facts[column])
    assert set(history["snapshot_date"]) == {DAY}


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("dim_archetype_l1", "archetype_id"),
        ("dim_archetype_l2", "archetype_level2_id"),
        ("dim_archetype_l3", "archetype_level3_id"),
    ],
)
def test_an_archetypes_numbers_are_those_of_its_members(run: Run, table: str, column: str) -> None:
    archetypes = run.star[table]
    kinds = run.facts[column].to_list()
    assert set(kinds) == set(archetypes["archetype_id"])
    assert archetypes["population_percentage"].sum() == pytest.approx(100)
    for row in archetypes.iter_rows(named=True):
        members = np.array([kind == row["archetype_id"] for kind in kinds])
        spent, orders = run.values["lifetime_value"][members].sum(), run.values["total_orders"][members].sum()
        assert row["member_count"] == members.sum()
        assert row["population_percentage"] == pytest.approx(100 * members.mean())
        assert row["total_ltv"] == pytest.approx(spent, abs=1e-4)
        assert row["avg_ltv"] == pytest.approx(spent / members.sum(), abs=1e-4)
        assert row["avg_orders"] == pytest.approx(orders / members.sum())
        assert row["avg_order_value"] == pytest.approx(spent / orders, abs=1e-4)
        assert row["avg_recency_days"] == pytest.approx(run.values["recency_days"][members].mean())
        assert row["description"].startswith(f"{100 * members.sum() / len(run.ids):.1f} % of customers")


@pytest.mark.parametrize("level", [1, 2, 3])
def test_ids_names_and_slugs_of_a_level_are_unique(run: Run, level: int) -> None:
    archetypes = run.star[f"dim_archetype_l{level}"]
    for column in ("archetype_id", "name", "slug"):
        assert archetypes[column].is_unique().all(), column
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) for slug in archetypes["slug"])


def test_a_name_is_no_longer_than_it_takes_to_be_the_only_one(run: Run) -> None:
    names = run.star["dim_archetype_l1"]["name"].to_list()
    lead = {"purchase_value", "purchase_frequency"} & {axis.axis.name for axis in run.discovery.signature}
    for name in names:
        parts = name.split(", ")
        assert 1 <= len(parts) <= max(1, len(run.discovery.signature))
        if len(parts) > max(1, len(lead)):
            shorter = ", ".join(parts[:-1])
            assert [other for other in names if other != name and other.startswith(shorter)]


def test_levels_2_and_3_nest_in_level_1(run: Run) -> None:
    parents = set(run.star["dim_archetype_l1"]["archetype_id"])
    for level in (2, 3):
        table = run.star[f"dim_archetype_l{level}"]
        assert set(table["parent_id"]) == parents
        parent_of = dict(table.select("archetype_id", "parent_id").iter_rows())
        assert [parent_of[kind] for kind in run.facts[f"archetype_level{level}_id"]] == list(run.facts["archetype_id"])
        assert all(kind.startswith(f"{parent}_") for kind, parent in parent_of.items())
    assert set(run.star["dim_archetype_l2"]["strength_band"]) <= set(BANDS)


def test_level_1_keeps_its_signature_and_counts_who_was_folded_into_it(run: Run) -> None:
    segments = dict(run.star["dim_segment_master"].select("segment_id", "segment_name").iter_rows())
    folded = Counter(run.facts.filter(pl.col("fold_distance") > 0)["archetype_id"])
    for row in run.star["dim_archetype_l1"].iter_rows(named=True):
        dominant, defined_by = json.loads(row["dominant_segments"]), elements(row["defined_by"])
        assert set(dominant) == {axis.axis.name for axis in run.discovery.signature}
        if defined_by:
            assert [segments[each] for each in elements(row["segment_ids"])] == [dominant[axis] for axis in defined_by]
        else:
            assert (row["name"], elements(row["segment_ids"])) == ("Everyone", ["everyone"])
        assert row["folded_count"] == folded[row["archetype_id"]]


def test_an_archetype_has_the_segment_of_most_members_on_the_axes_that_do_not_define_it(run: Run) -> None:
    own = np.array(parsed(run.facts["dominant_segments"]))
    for row in run.star["dim_archetype_l1"].iter_rows(named=True):
        members = own[run.facts["archetype_id"].to_numpy() == row["archetype_id"]]
        defined_by = elements(row["defined_by"])
        for axis, name in json.loads(row["dominant_segments"]).items():
            counted = Counter(each[axis] for each in members)
            assert counted[name] >= 1
            assert axis in defined_by or counted[name] == max(counted.values())


def test_members_who_were_not_folded_have_the_segments_that_define_their_archetype(run: Run) -> None:
    signature = {
        row["archetype_id"]: {
            axis: name
            for axis, name in json.loads(row["dominant_segments"]).items()
            if axis in elements(row["defined_by"])
        }
        for row in run.star["dim_archetype_l1"].iter_rows(named=True)
    }
    own = parsed(run.facts["dominant_segments"])
    for dominant, kind, distance in zip(own, run.facts["archetype_id"], run.facts["fold_distance"], strict=True):
        assert sum(dominant[axis] != name for axis, name in signature[kind].items()) == distance


def test_nothing_leans_to_what_it_is(run: Run) -> None:
    dominant = dict(run.star["dim_archetype_l1"].select("archetype_id", "dominant_segments").iter_rows())
    for row in run.star["dim_archetype_l3"].iter_rows(named=True):
        seconds = json.loads(row["second_segments"])
        assert not seconds.items() & json.loads(dominant[row["parent_id"]]).items()
        assert ("Leaning" in row["name"]) == bool(seconds)


def test_a_customers_lists_hold_a_number_for_every_segment_axis_and_feature(run: Run) -> None:
    segments = run.star["dim_segment_master"]
    features = sum(len(reading.fitted.features) for axis in run.discovery.axes for reading in axis.readings)
    assert [segments["place"].min(), segments["place"].n_unique()] == [1, segments.height]
    for row in run.standings.iter_rows(named=True):
        assert len(row["memberships"]) == segments.height
        assert len(row["dominant"]) == len(run.discovery.axes)
        assert len(row["features"]) == features


def test_memberships_read_back_to_a_thousand_millionth(run: Run) -> None:
    stored = parsed(run.profiles["segment_memberships"])
    for axis in run.discovery.axes:
        for customer, of_all in enumerate(stored):
            shares = of_all[axis.axis.name]
            assert list(shares) == [segment.name for segment in axis.segments]
            assert list(shares.values()) == pytest.approx(axis.memberships[customer].tolist(), abs=1e-9)
            assert sum(shares.values()) == pytest.approx(1, abs=1e-9)


def test_dominant_segments_strengths_and_interpretation_tell_of_the_memberships(run: Run) -> None:
    columns = ("dominant_segments", "membership_strengths")
    dominant, strengths = (parsed(run.facts[column]) for column in columns)
    profiles = run.profiles
    for customer, shares_of in enumerate(parsed(profiles["segment_memberships"])):
        for axis, shares in shares_of.items():
            assert shares[dominant[customer][axis]] == max(shares.values())
            assert strengths[customer][axis] in STRENGTHS
            assert (strengths[customer][axis] == "strong") == (round(max(shares.values()), 12) >= 0.7)
        assert profiles["interpretation"][customer] == ", ".join(dominant[customer].values())
        text = readable(profiles["profile"][customer])
        assert text["interpretation"] == profiles["interpretation"][customer]
        assert text["fuzzy_memberships"] == shares_of
        assert (text["dominant_segments"], text["membership_strength"]) == (dominant[customer], strengths[customer])


def test_feature_vectors_hold_what_each_customer_is_read_by_on_every_axis(run: Run) -> None:
    vectors = parsed(run.profiles["feature_vectors"])
    for axis in run.discovery.axes:
        for customer, vector in enumerate(vectors):
            source = axis.segments[axis.dominant[customer]].source
            read_by = [feature.name for feature in axis.axis.features_from(source)]
            assert list(vector[axis.axis.name]) == read_by
            mine = [run.values[name][customer] for name in read_by]
            assert list(vector[axis.axis.name].values()) == pytest.approx(mine, abs=1e-9)


def test_a_profile_says_what_a_customer_is_read_from_on_each_axis(run: Run) -> None:
    told = [readable(text)["axis_sources"] for text in run.profiles["profile"]]
    for axis in run.discovery.axes:
        assert [each[axis.axis.name] for each in told] == [axis.segments[top].source for top in axis.dominant]


def test_segments_of_an_axis_cover_everyone(run: Run) -> None:
    segments = run.star["dim_segment_master"]
    dominant = parsed(run.facts["dominant_segments"])
    assert segments["segment_id"].is_unique().all()
    for axis in run.discovery.axes:
        of_axis = segments.filter(pl.col("axis_name") == axis.axis.name)
        assert of_axis["position"].to_list() == list(range(of_axis.height))
        assert of_axis["population_percentage"].sum() == pytest.approx(100)
        counted = Counter(each[axis.axis.name] for each in dominant)
        assert dict(of_axis.select("segment_name", "customer_count").iter_rows()) == counted


def test_history_lists_the_dominant_segments_by_id(run: Run) -> None:
    names = dict(run.star["dim_segment_master"].select("segment_id", "segment_name").iter_rows())
    for ids, dominant in zip(
        run.star["fact_customer_history"]["segment_ids"], parsed(run.facts["dominant_segments"]), strict=True
    ):
        assert [names[each] for each in ids] == list(dominant.values())


def test_the_segment_master_is_enough_to_place_customers_again(run: Run) -> None:
    for axis in run.discovery.axes:
        rows = run.star["dim_segment_master"].filter(pl.col("axis_name") == axis.axis.name)
        back = []
        for source in rows["source"].unique(maintain_order=True):
            mine = rows.filter(pl.col("source") == source)
            centers = [json.loads(center) for center in mine["cluster_center"]]
            fitted = fitted_axis(axis.axis.name, json.loads(mine["scaler_params"][0]), centers)
            back.append(Reading(Source(source), fitted, first=mine["position"][0]))
        assert np.array_equal(memberships_in(back, run.values), axis.memberships)


def test_money_has_four_decimals_at_most_and_agrees_with_the_cents_spent(run: Run) -> None:
    money: Mapping[str, tuple[str, ...]] = {
        "fact_customer_current": ("lifetime_value", "avg_order_value"),
        **{f"dim_archetype_l{level}": ("avg_ltv", "total_ltv", "avg_order_value") for level in (1, 2, 3)},
    }
    for table, columns in money.items():
        for column in columns:
            for amount in run.star[table][column]:
                assert Decimal(str(amount)) == round(Decimal(str(amount)), 4), (table, column)
    cents = [Decimal(str(amount)) for amount in run.facts["lifetime_value"]]
    assert all(amount == round(amount, 2) for amount in cents)
    total = sum((Decimal(str(amount)) for amount in run.star["dim_archetype_l1"]["total_ltv"]), Decimal())
    assert total == sum(cents)


def test_whole_days_and_orders_are_whole_numbers_and_confidence_a_share(run: Run) -> None:
    for column in ("total_orders", "days_since_last_purchase", "customer_tenure_days"):
        assert run.facts.schema[column] == pl.Int64
    confidence = run.facts["cluster_confidence"].to_numpy()
    assert confidence.min() > 0 and confidence.max() <= 1
    if not run.discovery.signature:
        assert set(confidence.tolist()) == {1.0}


def test_one_customer_alone_gets_the_rows_written_among_all(run: Run) -> None:
    axes = [placed(axis) for axis in run.discovery.axes]
    for customer in {0, len(run.ids) // 2, len(run.ids) - 1}:
        one = slice(customer, customer + 1)
        standing = star_standing(run, one)
        alone = [replace(axis, memberships=axis.memberships[one]) for axis in axes]
        values = {name: column[one] for name, column in run.values.items()}
        row = customer_row(
            run.ids[customer], values, alone, standing, snapshot=DAY, as_of=AS_OF, yardstick=run.yardstick
        )
        (among_all,) = run.standings[one].to_dicts()
        assert row.keys() == among_all.keys()
        for column, value in among_all.items():
            assert_alike(readable(row[column]), readable(value))


def readable(value: Any) -> Any:
    """JSON as what it says, so that 1 and 1.0 are alike; money as a number."""
    if isinstance(value, str) and value.startswith(("{", '"archetype')):
        return json.loads(value if value.startswith("{") else f"{{{value}}}")
    return float(value) if isinstance(value, Decimal) else value


def star_standing(run: Run, rows: slice) -> Standing:
    facts = run.facts[rows]
    return Standing(
        level1=facts["archetype_id"].to_list(),
        level2=facts["archetype_level2_id"].to_list(),
        level3=facts["archetype_level3_id"].to_list(),
        fold_distance=facts["fold_distance"].to_numpy(),
    )


def test_the_report_tells_all_ten_rfm_groups_with_the_means_of_their_customers(run: Run) -> None:
    told = report_of(run)["rfm"]["groups"]
    assert [each["group"] for each in told] == list(GROUPS)
    assert sum(each["count"] for each in told) == run.facts.height
    assert sum(each["share"] for each in told) == pytest.approx(1)
    for each in told:
        members = run.facts.filter(pl.col("rfm_group") == each["group"])
        assert each["count"] == members.height
        for name, column in (
            ("avg_ltv", "lifetime_value"),
            ("avg_orders", "total_orders"),
            ("avg_recency_days", "days_since_last_purchase"),
        ):
            assert each[name] == (pytest.approx(members[column].mean(), abs=1e-4) if members.height else None)


def test_a_shop_of_several_kinds_has_archetypes_on_all_levels_and_folds_the_rare() -> None:
    run = run_of(made_up_shop(400, n_types=4))
    assert len(run.discovery.axes) == len(AXES)
    sizes = [run.star[f"dim_archetype_l{level}"].height for level in (1, 2, 3)]
    assert sizes[0] > 1 and sizes[1] > sizes[0]
    for level in (1, 2, 3):
        assert run.star[f"dim_archetype_l{level}"]["member_count"].min() >= 5
    assert (run.facts["fold_distance"] > 0).any()


# The report


def report_of(run: Run) -> dict[str, Any]:
    store = Store(store_id="shop", timezone="UTC", currency="EUR", served_run_id=None)
    return run_report(
        store, run.discovery, run.star, run.values, as_of=datetime(2025, 10, 23, tzinfo=UTC), orders_after=3
    )


def test_the_report_is_plain_and_adds_up(run: Run) -> None:
    report = json.loads(json.dumps(report_of(run), allow_nan=False))
    assert report["orders_after"] == 3
    assert report["n_customers"] == len(run.ids) and report["currency"] == "EUR"
    for axis in report["axes"]:
        assert sum(segment["count"] for segment in axis["segments"]) == len(run.ids)
        assert axis["k"] == len(axis["segments"])
        assert axis["smallest_share"] == min(segment["share"] for segment in axis["segments"])
        assert axis["has_structure"] == ("no_structure" not in axis["note"])
        readings = axis["readings"]
        assert [each["source"] for each in readings] == list(dict.fromkeys(s["source"] for s in axis["segments"]))
        assert sum(each["n_customers"] for each in readings) == len(run.ids)
        assert sum(each["k"] for each in readings) == axis["k"]
        assert any(each["has_structure"] for each in readings) == axis["has_structure"]
        assert min(each["smallest_share"] for each in readings) == axis["smallest_share"]
        for each in readings:
            assert each["has_structure"] == ("no_structure" not in each["note"])
    archetypes = report["archetypes"]
    assert archetypes["own_signature_share"] + archetypes["folded_share"] == pytest.approx(1)
    assert sum(archetypes["folded_by_distance"].values()) == round(archetypes["folded_share"] * len(run.ids))
    for level in ("1", "2", "3"):
        of_level, stored = archetypes["levels"][level], run.star[f"dim_archetype_l{level}"]["member_count"]
        assert (of_level["count"], of_level["smallest"], of_level["largest"]) == (
            len(stored),
            stored.min(),
            stored.max(),
        )


@pytest.mark.parametrize(
    ("n_asking", "proxy", "support"),
    [
        (
            99,
            "read from orders, not from tickets: 99 of the 100 customers it takes have 2 or more tickets",
            "99 of the 100 customers it takes have 2 or more tickets",
        ),
        (
            100,
            "tickets speak for 25.0 % of customers; the others are read from orders",
            "tickets speak for 25.0 % of customers; the others are self_service",
        ),
        (400, "", ""),
    ],
)
def test_the_report_says_for_how_many_tickets_speak_or_how_many_it_takes(
    n_asking: int, proxy: str, support: str
) -> None:
    values = made_up_shop(400, n_types=3)
    values["total_tickets"] = np.where(np.arange(400) < n_asking, 2.0 + np.arange(400) % 9, np.arange(400) % 2)
    report = report_of(run_of(values, axes=["communication_preference", "support_history"]))
    of_orders, of_tickets = report["axes"]
    assert of_orders["note"].endswith(proxy) and of_tickets["note"].endswith(support)
    assert of_orders["status"] == ("active" if n_asking == 400 else "proxy")
    assert of_tickets["status"] == "active"


def test_the_report_says_why_an_axis_has_no_structure_or_no_data() -> None:
    values = shapeless(120)
    found = discover(
        "shop",
        values,
        axes_named(["cadence", "support_history"]),
        available=frozenset({Need.orders}),
        options=DiscoveryOptions(),
    )
    yardstick = yardstick_of(found.axes, values, TierMode.percentile)
    ids = [str(number) for number in range(120)]
    star, customers = star_of(found, ids, values, snapshot=DAY, as_of=AS_OF, yardstick=yardstick)
    star["fact_customer_current"] = customers()
    cadence, support = report_of(Run(found, values, ids, star, yardstick))["axes"]
    assert cadence["note"] == "no_structure: no split tried keeps every segment at 3 % of customers"
    assert support == {
        "axis": "support_history",
        "measures": "what help they have needed",
        "status": "no_data",
        "note": "the store's records hold no tickets",
    }
