"""The commands as people and cron run them: real processes, exit codes, one line of error, an embedded database."""

import csv
import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs `python -m app …` over a data folder that the module's tests share; more settings as keywords."""
    folder = tmp_path_factory.mktemp("cli")

    def run(
        *arguments: object, program: tuple[str, ...] = ("-m", "app"), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DATA_DIR": str(folder / "data"),
            "ENV": "development",
            "LOG_LEVEL": "WARNING",
            **settings,
        }
        command = [sys.executable, *program, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    yield run


@pytest.fixture(scope="module")
def log_of_orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event log of 150 customers: 50 who come weekly, 100 who came once."""
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("files") / "orders.csv"
    start = datetime(2024, 1, 1, 9, tzinfo=UTC)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["Client", "Date", "Total", "Article"])
        for customer in range(150):
            for visit in range(20 if customer < 50 else 1):
                at = start + timedelta(days=7 * visit + rng.randrange(7), hours=rng.randrange(10))
                out.writerow([f"c{customer}", at.isoformat(), f"{rng.uniform(5, 90):.2f}", f"p{rng.randrange(40)}"])
    return path


MAPPING = ("--map", "customer_id=Client", "order_date=Date", "amount=Total", "product=Article")


@pytest.fixture(scope="module")
def segmented(run: Run, log_of_orders: Path) -> str:
    """The name of a store that is imported and segmented."""
    for command in (("import", "csv", log_of_orders, "--store", "log", *MAPPING), ("segment", "--store", "log")):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return "log"


def assert_one_line_of_error(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if not line.lstrip()[:1].isdigit()]  # without progress
    assert len(complaints) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in expected:
        assert part in complaints[0]


def test_an_import_accounts_for_every_row_and_the_second_changes_nothing(run: Run, log_of_orders: Path) -> None:
    first = run("import", "csv", log_of_orders, "--store", "twice", *MAPPING)
    second = run("import", "csv", log_of_orders, "--store", "twice", *MAPPING)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert table_row(first.stdout, "orders") == ["1,100", "1,100", "0", "0"]
    assert table_row(second.stdout, "orders") == ["1,100", "0", "0", "1,100"]
    assert table_row(second.stdout, "read")[0] == "1,100"


def table_row(text: str, label: str) -> list[str]:
    return next(line.split()[1:] for line in text.splitlines() if line.split()[:1] == [label])


def test_a_dry_run_reports_and_keeps_nothing(run: Run, log_of_orders: Path) -> None:
    done = run("import", "csv", log_of_orders, "--store", "rehearsal", "--dry-run", *MAPPING)
    assert done.returncode == 0
    assert "dry run: nothing kept" in done.stdout
    assert_one_line_of_error(run("segment", "--store", "rehearsal"), "There is no store 'rehearsal'")


def test_bad_rows_are_told_with_their_place_and_do_not_stop_the_rest(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("customer_id,order_date,amount\na,2024-01-01,5\nb,2024-13-01,5\nc,2024-01-01,five\n")
    done = run("import", "csv", path, "--store", "bad")
    assert done.returncode == 0
    assert f"{path}, row 2, order_date: '2024-13-01'" in done.stdout
    assert f"{path}, row 3, amount: 'five'" in done.stdout
    assert table_row(done.stdout, "rejected")[0] == "2"
    assert table_row(done.stdout, "customers")[1] == "1"


def test_a_refund_goes_to_the_order_its_row_names(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "refunds.csv"
    path.write_text(
        "customer_id,order_date,order_id,product,amount\n"
        "a,2024-01-01,o1,x,100\na,2024-01-05,o2,x,100\na,2024-02-01,o1,x,-100\n"
        "b,2024-01-01,o3,,50\nb,2024-02-01,o3,,-50\n"
    )
    done = run("import", "csv", path, "--store", "refunds")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 refunds" in done.stdout


def test_amounts_of_two_currencies_are_not_added_up(run: Run, segmented: str, tmp_path: Path) -> None:
    path = tmp_path / "pounds.csv"
    path.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "1,A,x,1,2011-01-01,1.50,7,UK\n"
    )
    done = run("import", "csv", path, "--preset", "online-retail", "--store", segmented)
    assert_one_line_of_error(done, "GBP", "USD", "--store")


def test_sums_no_shop_ever_sees_are_taken(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    rows = [f"a,2024-01-01,o1,p{number},9000000000000" for number in range(1_200)]
    path.write_text("\n".join(["customer_id,order_date,order_id,product,amount", *rows]) + "\n")
    done = run("import", "csv", path, "--store", "huge")
    assert done.returncode == 0, done.stderr
    assert "10,800,000,000,000,000.00" in done.stdout


def test_told_to_stop_a_command_leaves_nothing_running(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "app", "sample", "--customers", "20000"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "reading" not in process.stderr.readline():
            assert process.poll() is None
        pid = int((tmp_path / "data" / "postgres" / "pgdata" / "postmaster.pid").read_text().split()[0])
        process.terminate()
        complaint = process.stderr.read()
    assert process.returncode == 1
    assert "Stopped" in complaint
    left = Path(f"/proc/{pid}/cmdline")
    assert not left.exists() or left.read_bytes() == b""  # ended, and at most waiting for init to take note


def test_strict_stops_at_the_first_bad_row_and_keeps_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("customer_id,order_date,amount\na,2024-01-01,5\nb,2024-13-01,5\n")
    assert_one_line_of_error(run("import", "csv", path, "--store", "strict", "--strict"), "row 2", "2024-13-01")
    assert_one_line_of_error(run("segment", "--store", "strict"), "There is no store 'strict'")


def test_what_a_run_found_is_printed_and_written(run: Run, segmented: str, tmp_path: Path) -> None:
    done = run("segment", "--store", segmented, "--json", tmp_path / "run.json", "--report", tmp_path / "run.md")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["n_customers"] == 150
    assert len(found["axes"]) == 14
    page = (tmp_path / "run.md").read_text()
    for axis in found["axes"]:
        assert axis["axis"] in done.stdout
        assert axis["axis"] in page
        for segment in axis.get("segments", []):
            assert segment["name"] in done.stdout
            assert segment["interpretation"] in page


def test_what_became_of_the_run_before_is_printed_and_written(run: Run, log_of_orders: Path, tmp_path: Path) -> None:
    said = []
    run("import", "csv", log_of_orders, "--store", "since", *MAPPING)
    for day, *k in (("2024-02-01", "--max-k", "2"), ("2024-06-01", "--min-k", "3", "--max-k", "4")):
        files = ("--json", tmp_path / "run.json", "--report", tmp_path / "run.md")
        done = run("segment", "--store", "since", "--axes", "frequency,value", "--as-of", day, *k, *files)
        assert done.returncode == 0, done.stderr
        said.append((done.stdout, (tmp_path / "run.md").read_text(), json.loads((tmp_path / "run.json").read_text())))
    (*first, earlier), (*second, found) = said
    assert (earlier["previous_run_id"], earlier["since"]) == (None, None)
    assert not any("Since run" in text for text in first)
    assert found["previous_run_id"] == earlier["run_id"]
    assert found["since"]["segments"]
    for text in second:
        _, _, since = text.partition(f"Since run {earlier['run_id']}")
        assert all(f"{step['axis']}: {step['says']}" in since for step in found["since"]["segments"])
        assert f"{found['since']['archetypes']['new']} are new" in since
        for axis in found["axes"]:
            row = next(line for line in since.splitlines() if line.strip(" |").startswith(axis["axis"]))
            for name in ("changed", "moved", "refitted"):
                assert f"{100 * axis['drift'][name]:.1f} %" in row
    assert {step["fate"] for step in found["since"]["segments"] if not step["renamed"]} <= {
        *("split", "merged", "born", "retired")
    }


def test_a_dry_run_of_discovery_leaves_the_served_run(run: Run, segmented: str) -> None:
    before = run("doctor").stdout
    done = run("segment", "--store", segmented, "--dry-run", "--axes", "frequency,value")
    assert done.returncode == 0, done.stderr
    assert "Dry run, nothing kept" in done.stdout
    assert "return_behavior" not in done.stdout
    assert run("doctor").stdout == before


def test_memberships_are_exported_one_row_per_customer_axis_and_segment(
    run: Run, segmented: str, tmp_path: Path
) -> None:
    done = run("export", "segments", "--store", segmented, "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["customer_id", "axis", "segment_id", "segment_name", "membership", "dominant"]
    by_axis: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        by_axis.setdefault((row["customer_id"], row["axis"]), []).append(row)
    assert len({customer for customer, _ in by_axis}) == 150
    for shares in by_axis.values():
        assert sum(float(row["membership"]) for row in shares) == pytest.approx(1, abs=1e-9)
        assert [row["dominant"] for row in shares].count("true") == 1


def test_what_segments_tell_of_what_comes_is_printed_and_written(run: Run, segmented: str, tmp_path: Path) -> None:
    served = run("doctor").stdout
    done = run("usefulness", "--store", segmented, "--cuts", "1", "--json", tmp_path / "told.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "told.json").read_text())
    assert (found["store_id"], found["horizon_days"], len(found["cuts"])) == (segmented, 90, 1)
    assert found["cuts"][0]["n_customers"] == 150
    assert 0 < found["cuts"][0]["bought_share"] <= 50 / 150
    assert f"{found['cuts'][0]['cut']}: 150 customers" in done.stdout
    quintiles, *others = found["mean"]
    assert quintiles["name"] == "rfm_quintiles"
    assert {"archetypes_l1", "archetypes_l2", "archetypes_l3", "memberships"} < {row["name"] for row in others}
    for subject in ("Archetypes (", "Memberships tell"):
        assert done.stdout.count(f"\n{subject}") == 2  # who buys, and how much
    assert run("doctor").stdout == served


def test_predictions_are_published_and_leave_as_a_file(run: Run, segmented: str, tmp_path: Path) -> None:
    told = run("predict", "--store", segmented)
    assert told.returncode == 0, told.stderr
    assert "tell of 150 customers" in told.stdout
    assert "Levels of risk" in told.stdout
    out = tmp_path / "predictions.csv"
    assert run("export", "predictions", "--store", segmented, "--out", out).stdout == f"150 rows written to {out}.\n"
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == [
        *("customer_id", "as_of", "p_no_purchase_30d", "p_no_purchase_90d", "churn_risk_score", "risk_level"),
        *("horizon_days", "expected_spend_90d", "predicted_ltv_12m", "next_order_date", "model"),
    ]
    weekly, once = ([row for row in rows if (int(row["customer_id"][1:]) < 50) is regular] for regular in (True, False))
    assert max(float(row["p_no_purchase_30d"]) for row in weekly) < min(float(row["p_no_purchase_30d"]) for row in once)
    assert {row["risk_level"] for row in rows} <= {"low", "medium", "high", "critical"}


def test_what_would_have_been_predicted_then_is_written_and_nothing_kept(
    run: Run, segmented: str, tmp_path: Path
) -> None:
    out = tmp_path / "then.parquet"
    done = run("export", "predictions", "--store", segmented, "--as-of", "2024-04-20", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes()[:4] == b"PAR1"
    early = run("export", "predictions", "--store", segmented, "--as-of", "2024-02-01", "--out", tmp_path / "no.csv")
    assert_one_line_of_error(early, "predictions need 90 days of orders", "there are 31")
    assert not (tmp_path / "no.csv").exists()


def test_predictions_of_the_past_are_measured_printed_and_written(run: Run, segmented: str, tmp_path: Path) -> None:
    out = tmp_path / "backtest.json"
    done = run("backtest", "--store", segmented, "--cuts", "2024-04-15,2024-02-01", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "No order within 30 days, 1 cut" in done.stdout
    assert "2024-02-01: Not enough history" in done.stdout
    found = json.loads(out.read_text())
    (cut,) = found["cuts"]
    assert cut["cut"] == "2024-04-15"
    figures = cut["churn"][0]["everyone"]["models"]
    assert list(figures) == ["served", "base_rate", "recency_logistic", "rfm_logistic", "bg_nbd"]
    assert set(figures["served"]) == {
        *("n", "base_rate", "auc", "brier", "log_loss", "ece", "ece_noise_floor"),
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("backtest", "--cuts", "2030-01-01"), "there are not 30 days of records"),
        (("backtest", "--cuts", "2024-01-20"), "90 days of orders"),
        (("predict", "--as-of", "2020-01-01"), "there are no orders yet"),
        (("predict", "--as-of", "2090-01-01"), "lies in the future"),
    ],
)
def test_predictions_that_cannot_be_made_are_one_clear_line(
    run: Run, segmented: str, arguments: tuple[str, ...], said: str
) -> None:
    assert_one_line_of_error(run(*arguments, "--store", segmented), said)


def test_days_that_cannot_be_measured_are_one_clear_line(run: Run, segmented: str, tmp_path: Path) -> None:
    for arguments, expected in (
        (("--cuts", "2024-05-01"), "90 days of records"),
        (("--cuts", "2023-01-01,2024-02-01"), "0 customers"),
        (("--cuts", "1", "--json", tmp_path / "no" / "x.json"), "Cannot write"),
    ):
        assert_one_line_of_error(run("usefulness", "--store", segmented, *arguments), expected)
    assert_one_line_of_error(run("usefulness", "--store", "nowhere"), "There is no store 'nowhere'")


def test_doctor_says_what_is_there_and_prints_no_secret(run: Run, segmented: str) -> None:
    done = run("doctor")
    assert done.returncode == 0
    assert "embedded Postgres" in done.stdout
    assert segmented in done.stdout
    assert "Worker: none has run yet." in done.stdout
    assert "SLACK_WEBHOOK_URL: unset" in done.stdout
    told = run("doctor", SLACK_WEBHOOK_URL="https://hooks.slack.com/services/T0/B0/hunter2")
    assert "SLACK_WEBHOOK_URL: set" in told.stdout
    assert "hunter2" not in told.stdout
    away = run("doctor", DATABASE_URL="postgresql://shop:hunter2@127.0.0.1:1/none")
    assert away.returncode == 1
    assert "not reachable" in away.stdout
    assert "hunter2" not in away.stdout + away.stderr


def test_migrate_says_when_there_is_nothing_to_do(run: Run, segmented: str) -> None:
    assert "already" in run("migrate").stdout


def test_scripts_are_thin_faces_of_the_commands(run: Run, segmented: str) -> None:
    clustering = run(
        "--store-id", segmented, "--dry-run", "--no-ai-naming", program=("scripts/run_initial_clustering.py",)
    )
    assert clustering.returncode == 0, clustering.stderr
    assert "Dry run" in clustering.stdout
    star = run("--store", segmented, program=("scripts/test_star_schema.py",))
    assert (star.returncode, "BROKEN" in star.stdout) == (0, False), star.stdout + star.stderr
    sample = run("--store", segmented, "--customer-ids", "c1,c149", program=("scripts/test_clustering_sample.py",))
    assert sample.returncode == 0, sample.stdout + sample.stderr
    assert_one_line_of_error(
        run("--store", segmented, "--customer-ids", "nobody", program=("scripts/test_clustering_sample.py",)), "nobody"
    )


def test_trouble_with_a_file_is_one_clear_line(run: Run, log_of_orders: Path, tmp_path: Path) -> None:
    whole = gzip.compress(log_of_orders.read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "columns.csv").write_text("who,when\na,2024-01-01\n")
    for name, expected in (
        ("absent.csv", "no file"),
        ("cut.csv.gz", "cut short"),
        ("empty.csv", "empty"),
        ("columns.csv", "--map"),
    ):
        assert_one_line_of_error(run("import", "csv", tmp_path / name, "--store", "trouble"), name, expected)


def test_trouble_with_a_store_is_one_clear_line(run: Run, log_of_orders: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(log_of_orders.read_text().splitlines(keepends=True)[:41]))
    assert run("import", "csv", few, "--store", "few", *MAPPING).returncode == 0
    assert_one_line_of_error(run("segment", "--store", "few"), "has 2 customers", "--min-population 2")
    assert_one_line_of_error(run("segment", "--store", "few", "--as-of", "1990-01-01"), "before 1990", "later day")
    assert_one_line_of_error(run("segment", "--store", "few", "--as-of", "2999-01-01"), "future")
    assert_one_line_of_error(run("segment", "--store", "few", "--axes", ""), "no axis")
    assert_one_line_of_error(run("segment", "--store", "few", "--json", tmp_path / "no" / "x.json"), "Cannot write")
    assert_one_line_of_error(run("export", "segments", "--store", "few", "--out", tmp_path / "x"), "app segment")
    assert_one_line_of_error(run("segment", "--store", "few", "--axes", "shoe_size"), "shoe_size", "purchase_value")
    assert not (tmp_path / "x").exists()


def test_the_fewest_segments_cannot_be_more_than_the_most(run: Run, segmented: str) -> None:
    done = run("segment", "--store", segmented, "--min-k", "5", "--max-k", "3")
    assert_one_line_of_error(done, "5", "3", "Swap them")


def test_orders_after_the_day_asked_for_are_said_to_be_left_out(run: Run, segmented: str) -> None:
    done = run("segment", "--store", segmented, "--dry-run", "--as-of", "2024-03-01")
    assert done.returncode == 0, done.stderr
    assert "orders placed after that are left out" in done.stdout


def test_two_customers_can_be_segmented_when_asked_for(run: Run, log_of_orders: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(log_of_orders.read_text().splitlines(keepends=True)[:41]))
    assert run("import", "csv", few, "--store", "pair", *MAPPING).returncode == 0
    done = run("segment", "--store", "pair", "--min-population", "1")
    assert done.returncode == 0, done.stderr
    assert "2 customers of store 'pair'" in done.stdout


def test_trouble_with_the_settings_is_one_clear_line(run: Run) -> None:
    assert_one_line_of_error(run("doctor", STORE_TIMEZONE="Mars"), "STORE_TIMEZONE")
    assert_one_line_of_error(run("segment", DATABASE_URL="mysql://root@localhost/shop"), "DATABASE_URL")
    away = run("segment", DATABASE_URL="postgresql://shop:hunter2@127.0.0.1:1/none")
    assert_one_line_of_error(away, "does not answer", "DATABASE_URL")
    assert "hunter2" not in away.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("import", "csv"),
        ("import", "csv", "x.csv", "--preset", "nonsense"),
        ("import", "csv", "x.csv", "--map", "customer_id"),
        ("segment", "--as-of", "yesterday"),
        ("segment", "--min-k", "0"),
        ("segment", "--max-k", "1"),
        ("segment", "--max-k", "999999999"),
        ("segment", "--sample-size", "1"),
        ("segment", "--store", "a b"),
        ("segment", "--store", ""),
        ("export", "segments"),
        ("usefulness", "--cuts", "0"),
        ("usefulness", "--cuts", "2024-01-01,soon"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_where_it_failed(run: Run) -> None:
    done = run("segment", "--store", "nowhere", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
