"""What was measured, as a page: a table for each subject, and above them which limits hold."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of a table.

    what     : what was measured, in words
    runs     : what it came to each time
    form     : how one of them is written, such as "{:.1f} s"
    at_most, at_least : the limit it must keep to, if any
    ratio    : how that compares, and with what, in words
    where    : where the time goes, in words
    """

    what: str
    runs: tuple[float, ...]
    form: str
    at_most: float | None = None
    at_least: float | None = None
    ratio: str = ""
    where: str = ""

    @property
    def reached(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    @property
    def wanted(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.form.format(self.at_most)}"
        return "-" if self.at_least is None else f"≥ {self.form.format(self.at_least)}"

    @property
    def holds(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if self.at_most is not None:
            return self.reached <= self.at_most
        return None if self.at_least is None else self.reached >= self.at_least


@dataclass(frozen=True, slots=True)
class Section:
    """A subject.

    name     : as `--only` takes it
    told     : what stands above its table
    measured : when, of what and where, in words
    """

    name: str
    title: str
    told: str
    figures: tuple[Figure, ...]
    measured: str = ""

    @property
    def command(self) -> str:
        return f"python -m app bench --only {self.name}"


def plain(section: Section) -> dict[str, Any]:
    """As JSON has it: what the section is made of, and of each figure what comes of it."""
    told = [
        {**asdict(figure), "wanted": figure.wanted, "reached": figure.reached, "holds": figure.holds}
        for figure in section.figures
    ]
    return {**asdict(section), "figures": told}


def section_from(plain: Mapping[str, Any]) -> Section:
    """The section that `plain` was taken from."""
    known = [each.name for each in fields(Figure)]
    figures = [{name: told[name] for name in known} for told in plain["figures"]]
    return Section(**{**plain, "figures": tuple(Figure(**{**each, "runs": tuple(each["runs"])}) for each in figures)})


def markdown(sections: Sequence[Section]) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. A figure is the median of its runs, which take turns with those of what they are",
        "compared with; each job runs in a process of its own. Peak memory is that process's, without the database",
        "server, which is the embedded one as it is installed. Seconds differ from machine to machine, and on a shared",
        "one from hour to hour; ratios hardly.",
        "",
        *_limits(sections),
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", f"`{section.command}`: {section.told} {section.measured}".rstrip(), ""]
        lines += ["| what | wanted | reached | all runs | ratio | where the time goes |", "| --- " * 6 + "|"]
        lines += [_row(figure) for figure in section.figures]
    return "\n".join(lines) + "\n"


def _limits(sections: Sequence[Section]) -> list[str]:
    """How many limits hold, and by name those that do not."""
    limited = [(section, each) for section in sections for each in section.figures if each.holds is not None]
    broken = [f"- {section.title}: {each.what}, {_told(each)}" for section, each in limited if not each.holds]
    if not broken:
        return [f"All of {len(limited)} limits hold."]
    return [f"{len(limited) - len(broken)} of {len(limited)} limits hold. Not so:", "", *broken]


def _told(figure: Figure) -> str:
    return f"{figure.form.format(figure.reached)} (wanted {figure.wanted})"


def _row(figure: Figure) -> str:
    every = ", ".join(figure.form.format(each) for each in figure.runs)
    reached = figure.form.format(figure.reached)
    told = (figure.what, figure.wanted, reached, every, figure.ratio or "-", figure.where or "-")
    return "| " + " | ".join(told) + " |"


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
