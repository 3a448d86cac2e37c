"""What people see: a bar while something runs, tables when it is done, one line when it failed."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.core.progress import Progress as Listener

_PLAIN_WIDTH = 200


def complain(message: str) -> None:
    """One line to standard error."""
    print(" ".join(message.split()), file=sys.stderr)


def say(message: str = "") -> None:
    print(message, flush=True)


def console() -> Console:
    """Of the terminal's width; wide enough not to cut tables where the output goes to a file."""
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, soft_wrap=False)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> None:
    """A table whose first `left` columns are words and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False, box=None)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    console().print(table)
    say()


def shown(cell: object) -> str:
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case Decimal():
            return f"{cell:,.2f}"
        case float():
            return f"{cell:.3f}"
        case _:
            return str(cell)


@contextmanager
def progress() -> Iterator[Listener]:
    """A bar on a terminal, a line per step elsewhere."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=1.0)

            def on_terminal(step: str, done: float) -> None:
                bars.update(task, description=step, completed=done)

            yield on_terminal
        return
    started = time.monotonic()
    step_now = ""

    def in_lines(step: str, done: float) -> None:
        nonlocal step_now
        if step != step_now:
            step_now = step
            print(f"{time.monotonic() - started:6.1f} s  {step}", file=sys.stderr, flush=True)

    yield in_lines
