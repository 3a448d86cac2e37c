"""What a run found, for people: on a console and as a Markdown page, from the same parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from app.cli.output import say, show_table, shown
from app.pipeline.run import RunResult
from app.segmentation.evidence import OVERLAPPING


@dataclass(frozen=True, slots=True)
class _Table:
    """The first `left` columns are words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    left: int


def show_run(result: RunResult) -> None:
    """Print what a run found."""
    report = result.report
    say()
    say(_headline(result))
    say()
    _show(_axes(report))
    _show_since(report)
    for axis in report["axes"]:
        say(_axis_line(axis))
        if "says" in axis:
            say(f"  {axis['says']}")
        for found in axis.get("segments", []):
            say(f"  {found['name']}: {found['interpretation']}")
    say()
    for line in _alike(report):
        say(line)
    say()
    _show(_levels(report))
    _show(_most_valuable(report))
    say(_coverage(report))


def markdown(result: RunResult) -> str:
    """What a run found, as a page."""
    report = result.report
    lines = [f"# Segments of {report['store_id']}", "", f"{_headline(result)}.", "", *_piped(_axes(report))]
    lines += _since_page(report)
    for axis in report["axes"]:
        lines += ["", f"## {axis['axis']}", "", f"{_axis_line(axis)}.", ""]
        lines += [axis["says"], ""] if "says" in axis else []
        lines += [f"- **{found['name']}**: {found['interpretation']}" for found in axis.get("segments", [])]
    lines += ["", "## Axes that say much the same", "", *(f"- {line}" for line in _alike(report))]
    lines += ["", "## Archetypes", "", *_piped(_levels(report)), "", _coverage(report)]
    lines += ["", *_piped(_most_valuable(report))]
    return "\n".join(lines) + "\n"


def _headline(result: RunResult) -> str:
    report = result.report
    what = "Dry run, nothing kept" if result.run_id is None else f"Run {result.run_id}, now served"
    later = report["orders_after"]
    left_out = f"; {later:,} orders placed after that are left out" if later else ""
    n_customers = report["n_customers"]
    people = "customer" if n_customers == 1 else "customers"
    return f"{what}: {n_customers:,} {people} of store '{report['store_id']}' as of {report['as_of']}{left_out}"


def _axes(report: Mapping[str, Any]) -> _Table:
    columns = ("axis", "status", "segments", "verdict", "k", "silhouette", "null", "smallest share", "stability")
    return _Table("Axes", columns, [_axis_row(axis) for axis in report["axes"]], left=4)


def _axis_row(axis: Mapping[str, Any]) -> tuple[object, ...]:
    if "k" not in axis:
        return (axis["axis"], axis["status"], "", "", None, None, None, None, None)
    status = axis["status"] if axis["has_structure"] else f"{axis['status']}, no_structure"
    names = ", ".join(segment["name"] for segment in axis["segments"])
    stability = axis["stability"] and axis["stability"]["adjusted_rand"]
    scores = (axis["k"], axis["silhouette"], axis["null_silhouette"], _percent(axis["smallest_share"]), stability)
    return (axis["axis"], status, names, axis["verdict"].replace("_", " "), *scores)


def _show_since(report: Mapping[str, Any]) -> None:
    if report["since"] is None:
        return
    _show(_drift(report))
    for line in _news(report):
        say(f"  {line}")
    say()


def _since_page(report: Mapping[str, Any]) -> list[str]:
    if report["since"] is None:
        return []
    table = _drift(report)
    return ["", f"## {table.title}", "", *_piped(table), "", *(f"- {line}" for line in _news(report))]


def _drift(report: Mapping[str, Any]) -> _Table:
    """Of the customers known to both runs, how many changed their segment, and why."""
    columns = ("axis", "changed segment", "their behaviour moved", "segments refitted")
    rows = [
        (axis["axis"], *(_percent(axis["drift"][name]) for name in ("changed", "moved", "refitted")))
        for axis in report["axes"]
        if axis["drift"] is not None
    ]
    return _Table(f"Since run {report['previous_run_id']}", columns, rows, left=1)


def _news(report: Mapping[str, Any]) -> list[str]:
    """What does not go on as it was: each segment by itself, archetypes by their number."""
    news = [f"{step['axis']}: {step['says']}" for step in report["since"]["segments"]]
    if not news:
        news.append("No segment is split, merged, new, no more or renamed.")
    kinds = report["since"]["archetypes"]
    if kinds is not None:
        news.append(
            f"Archetypes: {kinds['kept']:,} go on ({kinds['renamed']:,} under another name), "
            f"{kinds['new']:,} are new, {kinds['gone']:,} are no more."
        )
    return news


def _axis_line(axis: Mapping[str, Any]) -> str:
    return f"{axis['axis']}: {axis['measures']}" + (f" ({axis['note']})" if axis["note"] else "")


def _alike(report: Mapping[str, Any]) -> list[str]:
    """The pairs of axes whose segments tell most of each other."""
    found = report["redundancy"]
    pairs = [
        (found["nmi"][one][other], f"{found['axes'][one]} and {found['axes'][other]}")
        for one, other in combinations(range(len(found["axes"])), 2)
        if found["nmi"][one][other] >= OVERLAPPING
    ]
    told = [f"{names} say much the same ({nmi:.2f} of 1)" for nmi, names in sorted(pairs, reverse=True)]
    return told or [f"No two axes say much the same (none share {OVERLAPPING} of 1)"]


def _levels(report: Mapping[str, Any]) -> _Table:
    rows = [
        (f"L{level}", each["count"], each["smallest"], each["largest"], _percent(each["in_useful_sizes"]))
        for level, each in report["archetypes"]["levels"].items()
    ]
    return _Table("Archetypes", ("level", "count", "smallest", "largest", "customers in 5-500"), rows, left=1)


def _most_valuable(report: Mapping[str, Any]) -> _Table:
    rows = [
        (each["archetype_id"], each["name"], each["member_count"], _money(each["avg_ltv"]), _money(each["total_ltv"]))
        for each in report["archetypes"]["most_valuable"]
    ]
    title = f"The archetypes worth most together, {report['currency']}"
    return _Table(title, ("id", "name", "customers", "each", "together"), rows, left=2)


def _coverage(report: Mapping[str, Any]) -> str:
    archetypes = report["archetypes"]
    return (
        f"{_percent(archetypes['own_signature_share'])} of customers have the very segments of their archetype; "
        f"{_percent(archetypes['folded_share'])} are in the nearest one, differing on "
        f"{archetypes['mean_fold_distance']:.1f} of its axes on average. "
        f"Archetypes take {archetypes['least_members']} customers to begin with."
    )


def _show(table: _Table) -> None:
    show_table(table.title, table.columns, table.rows, left=table.left)


def _piped(table: _Table) -> list[str]:
    cells = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in cells]


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
