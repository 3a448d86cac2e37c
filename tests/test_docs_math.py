"""docs/BEHAVIORAL_MATH.md says what the code does: its tables are read and compared, its worked numbers computed."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from app.domain.features import METRICS, STAND_INS, ZERO_WITHOUT_GOODS
from app.domain.rfm import FIFTHS, GROUPS, RfmScores, rfm_quintiles
from app.segmentation import clustering, evidence, naming
from app.segmentation.archetypes import BANDS
from app.segmentation.axes import AXES, Axis, AxisStatus, Need
from app.segmentation.clustering import KRange, Scaler
from app.segmentation.discovery import BLURRED, DiscoveryOptions
from app.segmentation.evidence import Verdict
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


@by_axis
def test_the_page_has_a_row_for_every_feature_of_an_axis_and_no_other(axis: Axis) -> None:
    headings, *rows = rows_of(of_axis(axis))
    assert headings == HEADINGS
    assert [row[0] for row in rows] == [f"`{name}`" for name in axis.feature_names]
    assert all(len(row) == len(HEADINGS) and all(row) for row in rows)


@by_axis
def test_the_page_gives_each_feature_the_transform_stand_in_and_range_it_has(axis: Axis) -> None:
    _, *rows = rows_of(of_axis(axis))
    for feature, (_, _, _, limits, transform, stand_in) in zip(axis.features, rows, strict=True):
        assert transform == feature.transform, feature.name
        assert stand_in_of(stand_in) == stand_in_in_code(feature.name), feature.name
        assert range_of(limits) == RANGES[feature.name], feature.name


@by_axis
def test_the_page_says_why_each_stand_in_stands_in(axis: Axis) -> None:
    _, *rows = rows_of(of_axis(axis))
    for row in rows:
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
    in_code = [(axis.name, *told) for axis in AXES for told in _told(naming._NAMES[axis.name])]
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
    assert f"smallest k within {_short(clustering.TIE)} of it" in FLOWING
    assert f"within {_short(clustering.STAY)} of the best" in FLOWING
    assert f"come back (below) for {100 * clustering.STABLE:.0f} % of the customers" in FLOWING
    assert f"from another seed, {clustering.REFITS} times" in FLOWING
    assert f"an excess of {_short(evidence.MUCH)} on" in FLOWING
    assert f"from {_short(evidence.OVERLAPPING)} the report says" in FLOWING
    assert f"in {evidence.BINS} bins" in FLOWING
    assert f"at most {clustering.FIT_SAMPLE:,} customers" in FLOWING
    assert f"at most {clustering.SILHOUETTE_SAMPLE:,} customers" in FLOWING
    assert clustering.WINSOR_PERCENTILES == (1.0, 99.0) and "clip(x, 1st percentile, 99th percentile)" in FLOWING
    assert f"`ARCHETYPE_MIN_MEMBERS` ({DiscoveryOptions().archetype_min_members})" in FLOWING
    assert all(f"`{band}`" in FLOWING for band in BANDS)


def test_the_table_of_verdicts_has_them_all_with_their_limits() -> None:
    table = dict(row[:2] for row in rows_of(section("## Evidence"))[1:])
    assert set(table) == {f"`{each}`" for each in Verdict}
    assert f"fewer than {MIN_READERS} customers" in table["`too_small`"]
    assert f"fewer than {MIN_TICKETS}; or no k keeps {100 * clustering.MIN_SHARE:.0f} %" in table["`one_group`"]
    assert f"by {_short(clustering.NULL_MARGIN)}" in table["`continuum`"]
    assert f"fewer than {100 * clustering.STABLE:.0f} % of customers are kept" in table["`unsteady_groups`"]
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
