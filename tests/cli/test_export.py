"""`export predictions`, as a spreadsheet opens it."""

import csv
import io
from pathlib import Path

from app.cli import parser_of
from app.core.config import Settings
from app.domain.records import Customer
from app.warehouse.engine import Database
from tests.fakes import foretell, foretold, put
from tests.warehouse.test_exports import FORMULAS, ODD


async def test_no_id_is_taken_for_a_formula_by_a_spreadsheet(
    database: Database, settings: Settings, store_id: str, tmp_path: Path
) -> None:
    everyone, out = [*FORMULAS, *ODD], tmp_path / "told.csv"
    await put(database, store_id, [Customer(each) for each in everyone])
    await foretell(database, store_id, [foretold(each) for each in everyone])
    wanted = parser_of("export").parse_args(["export", "predictions", "--store", store_id, "--out", str(out)])
    assert await wanted.run(wanted, settings.model_copy(update={"database_url": database.url})) == 0
    table = csv.DictReader(io.StringIO(out.read_bytes().decode(), newline=""))
    assert {row["customer_id"] for row in table} == {*(f"'{name}" for name in FORMULAS), *ODD}
