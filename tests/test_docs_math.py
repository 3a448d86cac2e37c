"""docs/BEHAVIORAL_MATH.md says what the code does: its tables are read and compared, its worked numbers computed."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from app.domain.features import LONG_OPEN_DAYS, METRICS, STAND_INS, ZERO_WITHOUT_GOODS
from app.domain.rfm import FIFTHS, GROUPS, RfmScores, rfm_quintiles
from app.pipeline import why
from app.pipeline.drift import WINDOWS
from app.segmentation import axes, clustering, evidence, identity, naming
from app.segmentation.archetypes import BANDS, FOLLOWING_TIMES, least_members
from app.segmentation.axes import AXES, Axis, AxisStatus, Feature, Need
from app.segmentation.clustering import FittedAxis, KRange, Scaler
from app.segmentation.discovery import BLURRED, DiscoveryOptions
from app.segmentation.drift import LEAST_SHARE, Discovered, Kinship, Move, kinship, movement, psi
from app.segmentation.evidence import Verdict
from app.segmentation.explanation import contributions
from app.segmentation.membership import Kernel, Strength, membership, strengths
from app.segmentation.naming import Ranked, Rule
from app.segmentation.readings import MIN_READERS, MIN_TICKETS
from tests.domain.test_features import RANGES

PAGE = Path(__file__).parents[1] / "docs" / "BEHAVIORAL_MATH.md"
TEXT = PAGE.read_text(encoding="utf-8")
FLOWING = " ".join(TEXT.split())

EVERYTHING = frozenset(Need)
HEADINGS = ["feature", "formula", "unit", "range", "transform", "stand-in"]


def rows_of(table: str) -> list[list[str]]:
    """Cells of every line of a text that begins with a bar, without the line under the headings."""
    lines = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def section(heading: str) -> str:
    _, _, after = TEXT.partition(f"\n{heading}\n")
    assert after, f"{PAGE.name} has no section '{heading}'"
    level = heading.split()[0]
    return re.split(rf"\n#{{2,{len(level)}}} ", after)[0]


def of_axis(axis: Axis) -> str:
    return section(f"### {AXES.index(axis) + 1}. {axis.name}")


def range_of(text: str) -> tuple[float, float]:
    if text == "any":
        return -math.inf, math.inf
    low, _, high = text.partition("..")
    return float(low), float(high) if high else math.inf


def stand_in_of(text: str) -> float | None:
    return None if text == "-" else float(text.partition(":")[0])


def stand_in_in_code(feature: str) -> float | None:
    return STAND_INS.get(feature, 0.0 if feature in ZERO_WITHOUT_GOODS else None)


by_axis = pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)


def features_of(axis: Axis) -> list[Feature]:
    """All that an axis reads: of orders first, then of tickets."""
    return list(dict.fromkeys((*axis.features, *axis.ticket_features)))


def feature_rows(axis: Axis) -> list[list[str]]:
    """Rows of the tables of an axis, one for each source it reads."""
    rows = rows_of(of_axis(axis))
    assert rows[0] == HEADINGS
    return [row for row in rows if row != HEADINGS]


@by_axis
def test_the_page_has_a_row_for_every_feature_of_an_axis_and_no_other(axis: Axis) -> None:
    rows = feature_rows(axis)
    assert [row[0] for row in rows] == [f"`{feature.name}`" for feature in features_of(axis)]
    assert all(len(row) == len(HEADINGS) and all(row) for row in rows)


@by_axis
def test_the_page_gives_each_feature_the_transform_stand_in_and_range_it_has(axis: Axis) -> None:
    rows = feature_rows(axis)
    for feature, (_, _, _, limits, transform, stand_in) in zip(features_of(axis), rows, strict=True):
        assert transform == feature.transform, feature.name
        assert stand_in_of(stand_in) == stand_in_in_code(feature.name), feature.name
        assert range_of(limits) == RANGES[feature.name], feature.name


@by_axis
def test_the_page_says_why_each_stand_in_stands_in(axis: Axis) -> None:
    for row in feature_rows(axis):
        stand_in = row[-1]
        assert stand_in == "-" or len(stand_in.partition(": ")[2].split()) >= 3, row[0]


@by_axis
def test_the_page_says_when_an_axis_is_active(axis: Axis) -> None:
    told = " ".join(of_axis(axis).split("\n| ")[0].lower().split())
    assert told.startswith(axis.measures)
    without = {axis.status(EVERYTHING - {need}) for need in Need if need is not Need.orders}
    assert ("always active" in told) == (without == {AxisStatus.active})
    assert ("proxy" in told) == (AxisStatus.proxy in without)
    assert ("no data" in told) == (AxisStatus.no_data in without)


def test_the_page_describes_no_axis_that_does_not_exist() -> None:
    headings = re.findall(r"^### (\d+)\. (.+)$", TEXT, flags=re.MULTILINE)
    assert headings == [(str(number), axis.name) for number, axis in enumerate(AXES, start=1)]


def test_the_page_names_every_metric_beside_the_axes() -> None:
    assert [name for name in METRICS if f"`{name}`" not in TEXT] == []


def test_the_page_states_every_naming_rule_in_order() -> None:
    _, *rows = rows_of(section("## Names"))
    stated = [(axis, name.strip("`"), condition) for axis, name, condition in rows]
    in_code = []
    for axis in AXES:
        in_code += [(axis.name, *told) for told in _told(naming._NAMES[axis.name])]
        in_code += [(f"{axis.name}, tickets", *told) for told in _told(naming._NAMES_FROM_TICKETS.get(axis.name, ()))]
    assert stated == in_code


def _told(rules: tuple[Rule, ...] | Ranked) -> list[tuple[str, str]]:
    if isinstance(rules, Ranked):
        return [
            (rules.lowest, f"`{rules.feature}` is the lowest"),
            (rules.between, f"`{rules.feature}` lies between"),
            (rules.highest, f"`{rules.feature}` is the highest"),
        ]
    return [(rule.name, _condition(rule)) for rule in rules]


def _condition(rule: Rule) -> str:
    limits = [("is at least", rule.at_least), ("is below", rule.below)]
    finite = [f"`{rule.feature}` {words} {limit:g}" for words, limit in limits if math.isfinite(limit)]
    return (" and ".join(finite) or "otherwise") + (" for nine in ten" if rule.for_most else "")


def test_the_worked_example_of_scaling_is_what_the_scaler_gives() -> None:
    assert "(15.3 - 45) / 20 = -1.485" in TEXT
    unlimited = np.array([np.inf])
    scaler = Scaler(("none",), -unlimited, unlimited, mean=np.array([45.0]), scale=np.array([20.0]))
    assert scaler.apply(np.array([[15.3]]))[0, 0] == pytest.approx(-1.485, rel=1e-12)


@pytest.mark.parametrize(("kernel", "column"), [("exponential", 1), ("gaussian", 2)])
def test_the_worked_example_of_memberships_is_what_the_kernels_give(kernel: Kernel, column: int) -> None:
    example = next(row for row in rows_of(section("## Memberships")) if row[0].startswith("0.5"))
    distances = np.array([[float(cell) for cell in example[0].split(", ")]])
    shares = membership(distances, kernel)[0]
    assert [f"{share:.3f}" for share in shares] == example[column].split(", ")


def test_the_exponential_example_is_the_one_everybody_quotes() -> None:
    assert "| 0.5, 2.0, 3.5 | 0.786, 0.175, 0.039 |" in TEXT


def test_the_worked_example_of_contributions_is_what_the_code_gives() -> None:
    page = section("## Why they are there")
    _, *coalitions = rows_of(page)
    centers, customer = np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([[2.0, -1.0]])
    points = np.array([[float(each) for each in row[1].strip("()").split(", ")] for row in coalitions])
    distances = cdist(points, centers)
    assert [row[2] for row in coalitions] == [f"{near:.3f}, {far:.3f}" for near, far in distances]
    assert [row[3] for row in coalitions] == [f"{share:.3f}" for share in membership(distances)[:, 0]]

    unlimited = np.full(2, np.inf)
    scaler = Scaler(("none", "none"), -unlimited, unlimited, np.zeros(2), np.ones(2))
    axis = FittedAxis("axis", ("f", "g"), scaler, centers, "exponential", 0.5, 0.1, 0.5, has_structure=True)
    parts = contributions(axis, customer)
    told = [float(number) for number in re.findall(r"/ 2 = ([+-][\d.]+)", page)]
    assert told == [round(share, 3) for share in parts.by_feature[0, :, 0]]
    first, second = told
    assert f"{parts.average[0]:.3f} + {first:.3f} - {-second:.3f} = {parts.memberships[0, 0]:.3f}" in page


def test_the_limits_of_what_is_tried_are_as_the_page_says() -> None:
    assert f"no order for 1 to {why.HORIZON_DAYS} days" in FLOWING
    assert (why.MOST_ORDERS, why.MOST_VISITS) == (5, 10)
    assert "one order of 1 to ten times their largest visit" in FLOWING
    assert f"where it is at most {why.RETURN_DAYS} days old" in FLOWING
    most = why._MOST_ROWS // (2 * why.HORIZON_DAYS)
    assert f"A customer with more than {most} orders" in FLOWING


@pytest.mark.parametrize(
    ("shares", "strength"),
    [
        ([0.7, 0.3], Strength.strong),
        ([0.69, 0.31], Strength.moderate),
        ([0.55, 0.45], Strength.balanced),
        ([0.39, 0.31, 0.3], Strength.weak),
        ([0.6, 0.4 - 1e-6], Strength.moderate),
    ],
)
def test_the_table_of_strengths_holds(shares: list[float], strength: Strength) -> None:
    table = dict(row[:2] for row in rows_of(section("## Memberships"))[-4:])
    assert set(table) == {each.value for each in Strength}
    top, second = sorted(shares)[-1:-3:-1]
    conditions = {"top ≥ .7": top >= 0.7, "top < .4": top < 0.4, "otherwise, top - second < .2": top - second < 0.2}
    by_page = next(name for name, where in table.items() if conditions.get(where, True))
    assert strengths(np.array([shares])) == [strength] == [Strength(by_page)]


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    assert f"less than {100 * clustering.MIN_SHARE:.0f} % of the customers" in FLOWING
    assert f"excess is below {_short(clustering.NULL_MARGIN)} is out" in FLOWING
    assert f"largest k within {_short(clustering.TIE)} of it" in FLOWING
    assert f"within {_short(clustering.STAY)} of the best" in FLOWING
    assert f"come back (below) for {100 * clustering.STABLE:.0f} % of the customers" in FLOWING
    assert f"from another seed, {clustering.REFITS} times" in FLOWING
    assert f"an excess of {_short(evidence.MUCH)} on" in FLOWING
    assert f"from {_short(evidence.OVERLAPPING)} the report says" in FLOWING
    assert f"in {evidence.BINS} bins" in FLOWING
    assert f"at most {clustering.FIT_SAMPLE:,} customers" in FLOWING
    assert f"at most {clustering.SILHOUETTE_SAMPLE:,} customers" in FLOWING
    assert f"{MIN_TICKETS} or more tickets" in FLOWING and f"at least {MIN_READERS} customers" in FLOWING
    assert f"open for more than {LONG_OPEN_DAYS:.0f} days" in FLOWING
    assert clustering.WINSOR_PERCENTILES == (1.0, 99.0) and "clip(x, 1st percentile, 99th percentile)" in FLOWING
    assert f"`ARCHETYPE_MIN_MEMBERS` ({DiscoveryOptions().archetype_min_members})" in FLOWING
    assert all(f"`{band}`" in FLOWING for band in BANDS)


def test_archetypes_are_split_in_the_order_and_down_to_the_size_that_the_page_says() -> None:
    page = section("## Archetypes")
    block = page.partition("axes.py`):\n")[2].partition("A kind is split")[0]
    leading, *following = [line.strip().strip(",").split(", ") for line in block.splitlines() if line.strip()]
    assert tuple(leading) == axes.LEADING
    assert tuple(name for line in following for name in line) == axes.FOLLOWING
    assert FOLLOWING_TIMES == 4 and "four times as many on the others" in FLOWING
    largest, members = map(int, re.findall(r"up to (\d+) customers; 5,000 make it (\d+)", page)[0])
    least = DiscoveryOptions().archetype_min_members
    assert least_members(5_000, at_least=least) == members
    assert least_members(largest, at_least=least) == least < least_members(largest + 1, at_least=least)


def test_the_worked_example_of_identity_is_what_the_matching_gives() -> None:
    page = section("## From one run to the next")
    tables = [rows_of(part) for part in re.split(r"\n\n(?!\|)", page)]
    (shared,) = [rows[1:] for rows in tables if rows[:1] == [["old", "1", "2", "3"]]]
    (pairs,) = [rows[1:] for rows in tables if rows and rows[0][0] == "pair"]
    together = np.array([[float(cell) for cell in row[1:]] for row in shared])
    assert together.sum() == 100
    near = np.zeros((3, 3))
    for pair, *_, nearness, _, _ in pairs:
        old, new = pair.split(", ")
        near["ABC".index(old), int(new) - 1] = float(nearness)
    found = identity.descent(together, near)
    assert [(*row[0].split(", "), row[-1]) for row in pairs] == sorted(
        ("ABC"[step.before], str(step.now + 1), f"`{step.fate.value}`") for step in found.steps
    )
    assert found.heir_of.tolist() == [0, identity.NOBODY, 1]
    for step in found.steps:
        row = next(row for row in pairs if row[0] == f"{'ABC'[step.before]}, {step.now + 1}")
        before, now = together[step.before].sum(), together[:, step.now].sum()
        alike = step.count / (before + now - step.count)
        total = alike + 0.1 * near[step.before, step.now]
        assert row[1:4] + row[5:6] == [
            f"{each:.3f}".lstrip("0") for each in (step.of_before, step.of_now, alike, total)
        ]

    placed, now = (np.repeat(groups.ravel(), together.ravel().astype(int)) for groups in np.indices(together.shape))
    was = placed.copy()
    was[np.flatnonzero((placed == 1) & (now == 2))[:5]] = 0
    told = identity.drift(was, placed, now, found.heir_of, 3)
    assert told is not None
    assert "`refitted` is .52" in FLOWING and "`moved` is .05 and `changed` is .57" in FLOWING
    assert (told.refitted, told.moved, told.changed) == pytest.approx((0.52, 0.05, 0.57))


def test_the_limits_of_identity_are_as_the_page_says() -> None:
    assert identity.SAME == 1 / 3 and "`SAME` = 1/3" in FLOWING
    assert f"`MOSTLY` = {identity.MOSTLY:.1f}".replace("0.", ".") in FLOWING
    assert f"`NO_CRUMB` = {identity.NO_CRUMB:.1f}".replace("0.", ".") in FLOWING
    assert f"Jaccard + {identity._PLACE_WEIGHT:.1f} · exp(-distance)".replace("0.", ".") in FLOWING
    assert f"has changed by {identity.SHARE_CHANGED:.1f} or more".replace("0.", ".") in FLOWING
    assert f"to more than {identity.TIMES_CHANGED:.1f} times" in FLOWING
    rows = [row[0] for row in rows_of(section("## From one run to the next"))]
    assert [name for name in rows if name.strip("`") in identity.Fate.__members__] == [
        f"`{fate.value}`"
        for fate in (
            identity.Fate.split,
            identity.Fate.merged,
            identity.Fate.continued,
            identity.Fate.born,
            identity.Fate.retired,
        )
    ]


def test_the_table_of_verdicts_has_them_all_with_their_limits() -> None:
    table = dict(row[:2] for row in rows_of(section("## Evidence"))[1:])
    assert set(table) == {f"`{each}`" for each in Verdict}
    assert f"fewer than {MIN_READERS} customers" in table["`too_small`"]
    assert f"fewer than {MIN_TICKETS}; or no k keeps {100 * clustering.MIN_SHARE:.0f} %" in table["`one_group`"]
    assert f"by {_short(clustering.NULL_MARGIN)}" in table["`continuum`"]
    assert f"fewer than {100 * evidence.STEADY:.0f} % of customers are kept" in table["`unsteady_groups`"]
    assert f"below {_short(BLURRED)}" in table["`blurred_groups`"]


def test_the_worked_numbers_of_agreement_are_what_the_code_gives() -> None:
    together = np.array([[5.0, 1.0], [0.0, 4.0]])
    assert "5 are in A both times, 1 moves from A to B, 4 stay in B" in FLOWING
    assert float(re.search(r"= 9 / 10 = (\.\d+)", FLOWING)[1]) == np.trace(together) / together.sum()
    told = float(re.search(r"ARI = \(16 - 9\.33\) / \(20\.5 - 9\.33\) = (\.\d+)", FLOWING)[1])
    assert told == round(clustering.adjusted_rand(together), 3)
    told = float(re.search(r"I = \.423 and NMI = (\.\d+)", FLOWING)[1])
    assert told == round(evidence.normalised_mutual_information(together), 3)


def test_the_page_has_the_group_of_every_pair_of_scores() -> None:
    headings, *rows = rows_of(section("## RFM groups"))[: FIFTHS + 1]
    assert headings[1:] == [f"F {score}" for score in range(1, FIFTHS + 1)]
    assert [int(row[0]) for row in rows] == [5, 4, 3, 2, 1]
    every = np.arange(1, FIFTHS + 1)
    for recency, *groups in rows:
        scores = RfmScores(np.full(FIFTHS, int(recency)), every, every)
        assert groups == [f"`{GROUPS[code]}`" for code in scores.groups]


def test_the_worked_example_of_rfm_is_what_the_fifths_give() -> None:
    _, *rows = rows_of(section("## RFM groups"))[FIFTHS + 1 :]
    behaviour = np.array([[float(cell) for cell in row[1:4]] for row in rows]).T
    scores = rfm_quintiles(*behaviour).scores(*behaviour)
    given = zip(scores.recency, scores.frequency, scores.monetary, scores.groups, strict=True)
    assert len(rows) == 10
    assert [row[4:] for row in rows] == [[*map(str, each), f"`{GROUPS[code]}`"] for *each, code in given]


def test_the_worked_numbers_of_migrations_and_shifts_are_what_the_code_gives() -> None:
    assert "8 migrated and 6 are elsewhere by discovery" in FLOWING and "4 of 200 migrated" in FLOWING
    told = kinship({2: Discovered(1, [("a", "a"), ("a", "b"), ("c", "c")])}, before=1, now=2)
    week = movement([("a", "a", 186), ("a", "b", 6), ("c", "a", 8)], told)
    before = movement([("a", "a", 196), ("a", "c", 4)], Kinship(same=True))
    said = re.search(
        r": (\.\d+) migrated, (\.\d+) by discovery, and a velocity of (\.\d+)\. .* migrated, (\.\d+) a day: "
        r"the acceleration is (\.\d+)",
        FLOWING,
    )
    shares = [week.share(Move.migrated), week.share(Move.by_discovery), week.velocity(7), before.velocity(7)]
    found = [*shares, week.velocity(7) - before.velocity(7)]
    assert [float(each) for each in said.groups()] == [round(each, 4) for each in found]
    told_shift = float(re.search(r"ln\(\.4 / \.5\) = (\.\d+)", FLOWING)[1])
    assert told_shift == round(psi(np.array([0.6, 0.4]), np.array([0.5, 0.5])), 3)
    assert f"shares below {_decimals(LEAST_SHARE)} count as {_decimals(LEAST_SHARE)}" in FLOWING
    assert ", ".join(map(str, WINDOWS[:2])) + f" or {WINDOWS[2]} days older" in FLOWING


def _decimals(number: float) -> str:
    return f"{number:.4f}".lstrip("0")


def test_every_row_of_the_table_of_moves_is_what_the_code_counts() -> None:
    rows = rows_of(section("## From day to day"))[1:]
    known = kinship({2: Discovered(1, [("a", "b"), ("c", None), (None, "d"), ("e", "e")])}, before=1, now=2)
    moves = [("a", "a"), ("a", "b"), ("c", "b"), ("a", "d"), ("a", "e")]
    found = [*(known.move(*each) for each in moves), kinship({}, before=1, now=2).move("a", "e")]
    assert [row[1].replace(" ", "_") for row in rows] == [each.value for each in found]


def _short(number: float) -> str:
    return f"{number:.2f}".lstrip("0")


def test_a_shop_tries_as_many_segments_as_the_page_says() -> None:
    first, *steps = re.search(
        r"(\d) up to 449, (\d) from ([\d,]+), (\d) from ([\d,]+), (\d) from ([\d,]+), (\d) from ([\d,]+)", FLOWING
    ).groups()
    assert KRange().candidates(449) == range(2, int(first) + 1)
    for k, n_customers in zip(map(int, steps[::2]), (int(n.replace(",", "")) for n in steps[1::2]), strict=True):
        assert KRange().candidates(n_customers) == range(2, k + 1)
        assert KRange().candidates(n_customers - 1) == range(2, k)
    assert KRange(dynamic=False).candidates(100) == range(2, 7)


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert len(links) > 5
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []
