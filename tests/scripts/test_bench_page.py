"""The page of the benchmarks says of each figure what was wanted, what was reached, and whether that is enough."""

import argparse
import json
from pathlib import Path

import pytest

from scripts.bench import SUBJECTS, sections_in, subjects
from scripts.bench_measured import Measured, median_ratio, median_steps
from scripts.bench_page import Figure, Section, markdown, plain


def page_of(*figures: Figure) -> str:
    section = Section(name="import", title="A file", told="a file of 3 rows.", figures=figures)
    return markdown([section])


def test_a_figure_is_the_median_of_its_runs() -> None:
    assert Figure("import", (9.0, 1.0, 2.0), "{:.1f} s").reached == 2.0


def test_a_limit_holds_up_to_and_with_its_value() -> None:
    assert Figure("import", (2.0,), "{:.1f} s", at_most=2.0).holds
    assert Figure("import", (2.1,), "{:.1f} s", at_most=2.0).holds is False
    assert Figure("ratio", (2.0,), "{:.1f}", at_least=2.0).holds
    assert Figure("ratio", (1.9,), "{:.1f}", at_least=2.0).holds is False
    assert Figure("ratio", (1.9,), "{:.1f}").holds is None


def test_a_row_tells_what_was_wanted_reached_and_measured_each_time() -> None:
    figure = Figure("import", (2.0, 3.0, 1.0), "{:.1f} s", at_most=5.0, ratio="twice the least", where="reading 1 s")
    row = "| import | ≤ 5.0 s | 2.0 s | 2.0 s, 3.0 s, 1.0 s | twice the least | reading 1 s |"
    assert row in page_of(figure).splitlines()


def test_a_subject_says_the_command_that_measures_it() -> None:
    assert "`python -m app bench --only import`: a file of 3 rows." in page_of(Figure("import", (1.0,), "{:.1f} s"))


def test_the_page_begins_with_the_limits_that_do_not_hold() -> None:
    held, broken = (Figure(what, (2.0,), "{:.1f} s", at_most=most) for what, most in (("fast", 5.0), ("slow", 1.0)))
    page = page_of(held, broken)
    assert "1 of 2 limits hold. Not so:" in page
    assert "- A file: slow, 2.0 s (wanted ≤ 1.0 s)" in page.splitlines()
    assert page.index("slow, 2.0 s") < page.index("## A file")


def test_the_page_says_that_all_limits_hold() -> None:
    assert "All of 1 limits hold." in page_of(Figure("import", (1.0,), "{:.1f} s", at_most=1.0))


def test_where_the_time_goes_is_the_median_of_each_step_and_leaves_out_what_takes_none() -> None:
    runs = [
        Measured(6.0, {"reading": 1.0, "nothing": 0.0, "storing": 5.0}),
        Measured(7.0, {"reading": 3.0, "nothing": 0.0, "storing": 4.0}),
        Measured(8.0, {"reading": 2.0, "nothing": 0.0, "storing": 6.0}),
    ]
    assert median_steps(runs) == "reading 2 s, storing 5 s"


def test_a_ratio_is_taken_run_by_run_so_that_what_slows_both_does_not_change_it() -> None:
    assert median_ratio([2.0, 20.0, 4.0], [1.0, 10.0, 1.0]) == 2.0


def test_subjects_are_measured_in_their_own_order_and_others_refused() -> None:
    assert subjects("features,discovery") == ["discovery", "features"]
    assert subjects(",".join(SUBJECTS)) == list(SUBJECTS)
    with pytest.raises(argparse.ArgumentTypeError, match="'nonsense' is not measured; there are import, discovery"):
        subjects("discovery,nonsense")


def test_figures_are_written_as_plain_data_too() -> None:
    figure = Figure("import", (2.0, 3.0), "{:.1f} s", at_most=5.0)
    (told,) = plain(Section("import", "A file", "a file.", (figure,)))["figures"]
    assert (told["what"], told["runs"], told["wanted"]) == ("import", (2.0, 3.0), "≤ 5.0 s")
    assert (told["reached"], told["holds"]) == (2.5, True)


def test_what_was_written_is_read_back_and_told_again_with_its_day(tmp_path: Path) -> None:
    figures = (Figure("import", (2.0, 3.0), "{:.1f} s", at_most=5.0), Figure("ratio", (1.5,), "{:.2f}", ratio="twice"))
    section = Section("import", "A file", "a file.", figures, measured="Measured on 2024-05-01.")
    (tmp_path / "kept.json").write_text(json.dumps([plain(section)]))
    assert sections_in(tmp_path / "kept.json") == {"import": section}
    assert "`python -m app bench --only import`: a file. Measured on 2024-05-01." in markdown([section])
