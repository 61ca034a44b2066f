"""``abplatform import-events`` as a person meets it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv, parquet

from abplatform.cli.main import run
from abplatform.readout.document import as_document
from abplatform.services.define import create_metric
from abplatform.services.read_table.roles import DAY_HINT
from abplatform.warehouse.inbox import Inbox
from tests.builders import NOW, a_metric, a_metric_use, a_plan, an_external_experiment
from tests.cli.tables import a_platform, facts, write_csv
from tests.services.lives import lead

PURCHASES = ["--unit", "who", "--timestamp", "at", "--event-name", "purchase"]
AT = "2026-03-03T10:00:00Z"

Said = Callable[[], tuple[str, str]]


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for tests that leave nothing in it."""
    home = tmp_path_factory.mktemp("empty") / "home"
    with a_platform(home):
        return home


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command wrote on stdout and stderr since the last call."""
    return capsys.readouterr


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "loans.csv", ("who", "at", "amount"), ("u1", AT, "5"), ("", AT, "6"), ("u3", AT, "x"))


def test_wrong_rows_are_named_and_counted_and_the_status_says_so(table: Path, said: Said) -> None:
    """A check says the same before, and takes nothing."""
    options = ["import-events", str(table), *PURCHASES, "--value", "amount"]
    assert run([*options, "--check"]) == 1
    checked = said()
    with a_platform(table.parent / "home") as platform, platform.uow.reading() as work:
        assert (work.audit.all("default"), platform.inbox.counters("default", "conversion")["rejected"]) == ((), 0)
    assert run(options) == 1
    out, err = said()
    unseen = "; nothing is taken, and ids are not compared with what is there already"
    assert checked == (out.replace(": 1 new, 0 there already", unseen, 1), err)
    assert err.splitlines() == ["row 2: who is missing", "row 3: amount must be a decimal number, such as 350.00"]
    assert out.splitlines() == [
        "read 1 good row of loans.csv: 1 new, 0 there already",
        "left out 1: BAD_VALUE",
        "left out 1: MISSING_FIELD",
        "Warning: 2 of 3 rows are missing. Mend the table and import it again: what was taken counts once.",
    ]


def test_what_spreadsheets_write_is_refused_with_what_to_do(tmp_path: Path, said: Said) -> None:
    """The decimals of most of Europe, separators between thousands, a day alone, and another encoding than UTF-8."""
    rows = [("u1", AT, "12,5", ""), ("u2", AT, "1,234.5", ""), ("u3", AT[:10], "1", ""), ("u4", AT, "1", "\u5f20")]
    table = write_csv(tmp_path / "e.csv", ("who", "at", "amount", "product"), *rows)
    table.write_bytes(table.read_text(encoding="utf-8").encode("gbk"))
    assert run(["import-events", str(table), *PURCHASES, "--value", "amount", "--property", "product=product"]) == 1
    number = (
        "must be a decimal number, such as 350.00; write a point before the decimals, and nothing between thousands"
    )
    assert said()[1].splitlines() == [
        f"row 1: amount {number}",
        f"row 2: amount {number}",
        f"row 3: at is a day without a time{DAY_HINT}",
        "row 4: product is not valid UTF-8 text; save the table as UTF-8",
    ]


def test_a_table_that_is_imported_again_says_that_its_events_had_been_there(tmp_path: Path, said: Said) -> None:
    table = write_csv(tmp_path / "e.csv", ("who", "at"), ("u1", AT), ("u2", AT))
    assert run(["import-events", str(table), *PURCHASES]) == 0
    assert said() == ("read 2 good rows of e.csv: 2 new, 0 there already\n", "")
    assert run(["import-events", str(table), *PURCHASES]) == 0
    assert said() == ("read 2 good rows of e.csv: 0 new, 2 there already\n", "")


def test_of_rows_that_others_seal_meanwhile_the_report_says_what_it_knows(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has sealed an import before that gets to it: nothing is left for its own seal."""
    table = write_csv(tmp_path / "e.csv", ("who", "at"), ("u1", AT), ("u2", AT))
    add = Inbox.add

    def add_and_seal(inbox: Inbox, *args: Any, **options: Any) -> None:
        add(inbox, *args, **options)
        with a_platform(tmp_path / "home") as other:
            other.seal("default")

    monkeypatch.setattr(Inbox, "add", add_and_seal)
    assert run(["import-events", str(table), *PURCHASES]) == 0
    seen = "of the events that were sealed here meanwhile 0 are new, 0 had been there already"
    assert said() == (f"read 2 good rows of e.csv, all on disk; {seen}\n", "")
    with a_platform(tmp_path / "home") as platform, platform.uow.reading() as work:
        *_, done = work.audit.all("default")
    assert (done.details["taken"], done.details["new"]) == (2, None)


def test_a_type_of_units_that_nobody_counts_by_is_doubted(tmp_path: Path, said: Said) -> None:
    """It is taken all the same: history comes before the experiment that counts by it."""
    table = write_csv(tmp_path / "e.csv", ("who", "at"), ("u1", AT))
    mistyped = ["--unit-type", "userid", "--other-unit", "user_id=who"]
    for more in (["--check"], []):
        assert run(["import-events", str(table), *PURCHASES, *mistyped, *more]) == 0
        assert said()[1] == "Warning: nobody counts by 'userid'; did you mean 'user_id'?\n"
    plan = a_plan(method="fixed")
    with a_platform(tmp_path / "home") as platform:
        with platform.uow.begin() as work:
            create_metric(work, "default", a_metric(), now=NOW)
        lead(platform.uow, an_external_experiment(unit_type="userid", plan=plan))
    assert run(["import-events", str(table), *PURCHASES, *mistyped]) == 0
    assert said()[1] == ""


def test_a_large_table_with_wrong_rows_is_taken_exactly(tmp_path: Path, said: Said) -> None:
    """300,000 rows, of which each 1,000th has no unit and each 1,000th no amount: the sum is that of the others."""
    count = 300_000
    numbers = pa.array(range(count))
    texts = pc.cast(numbers, pa.string())
    thousandth = pc.equal(numbers, pc.multiply(pc.divide(numbers, 1000), 1000))
    before = pc.is_in(pc.add(numbers, 1), value_set=numbers.filter(thousandth))
    table = pa.table(
        {
            "who": pc.if_else(thousandth, "", pc.binary_join_element_wise("\u5ba2\u6237", texts, "-")),
            "at": pa.repeat(AT, count),
            "amount": pc.if_else(before, "much", pc.binary_join_element_wise(texts, "01", ".")),
        }
    )
    csv.write_csv(table, tmp_path / "big.csv")
    assert run(["import-events", str(tmp_path / "big.csv"), *PURCHASES, "--value", "amount"]) == 1
    out, err = said()
    assert out.splitlines() == [
        "read 299,401 good rows of big.csv: 299,401 new, 0 there already",
        "left out 299: BAD_VALUE",
        "left out 300: MISSING_FIELD",
    ]
    assert [int(line.split()[1].rstrip(":")) for line in err.splitlines()[:20]] == [
        row for thousand in range(0, 11_000, 1000) for row in (thousand, thousand + 1) if row
    ][:20]
    assert err.splitlines()[20:] == ["... and 579 more"]
    left_out = [n for n in range(count) if n % 1000 in {0, 999} and n != count - 1]
    expected = sum(range(count)) - sum(left_out) + (count - len(left_out)) * Decimal("0.01")
    with a_platform(tmp_path / "home") as platform:
        files = platform.lake.files("default", "conversion")
        values = [parquet.read_table(file.path.removeprefix("file://"), columns=["value"])["value"] for file in files]
    assert sum(len(each) for each in values) == 299_401
    assert sum(pc.sum(each).as_py() for each in values) == expected


def test_exposures_come_with_their_experiment(tmp_path: Path, said: Said) -> None:
    table = write_csv(tmp_path / "e.csv", ("who", "at", "arm"), ("u1", AT, "control"))
    exposures = ["--kind", "exposure", "--unit", "who", "--timestamp", "at", "--variant", "arm"]
    assert run(["import-events", str(table), *exposures, "--experiment-key", "nothing"]) == 2
    assert said()[1] == "Error: --experiment-key: 'nothing': there is no experiment of that key\n"


MISTAKES = [
    (["--unit", "whom"], "--unit: ", "has no column 'whom'; it has 'who', 'at', 'amount'; did you mean 'who'?"),
    (["--timestamp", "time"], "--timestamp: ", "has no column 'time'; it has 'who', 'at', 'amount'"),
    (["--value", "amonut"], "--value: ", "did you mean 'amount'?"),
    (["--event-id", "id"], "--event-id: ", "has no column 'id'"),
    (["--property", "product=produkt"], "--property: ", "has no column 'produkt'"),
    (["--other-unit", "device=devise"], "--other-unit: ", "has no column 'devise'"),
    (["--other-unit", "user_id=who"], "--other-unit: ", "'user_id' is the type of --unit already"),
    (["--event", "amount"], "--event: ", "name either a column with it, or one for all rows as --event-name"),
    (["--timezone", "Mars/Base"], "--timezone: ", "is no time zone that this machine knows"),
    (["--type", "days=number"], "--type: ", "'days' is not among what --property names: none"),
    (["--type", "days=date"], "--type", "'date' is none of text, number, boolean"),
    (["--property", "days"], "--property", "'days' is not NAME=COLUMN"),
    (["--property", "a=who", "--property", "a=at"], "--property", "'a' stands twice"),
    (["--variant", "who"], "--variant", "goes with --kind exposure only"),
    (["--kind", "exposure"], "--event-name", "goes with --kind conversion only"),
    (["--actor", "a\nb"], "--actor: ", "must be 1 to 200 printable characters"),
]


@pytest.mark.parametrize(("options", "names", "message"), MISTAKES)
def test_a_mistake_in_the_mapping_names_the_option(
    table: Path,
    empty_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Said,
    options: list[str],
    names: str,
    message: str,
) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(empty_home))
    assert run(["import-events", str(table), *PURCHASES, *options]) == 2
    err = said()[1]
    assert err.count("\n") == 1
    assert names in err
    assert message in err
    with a_platform(empty_home) as platform, platform.uow.reading() as work:
        assert work.audit.all("default") == ()


TYPES = [
    ("who", pa.array([1.5]), "--unit: 'who' holds double, but must be texts or whole numbers: a number with a point"),
    (
        "at",
        pa.array([datetime(2026, 3, 3, tzinfo=UTC).date()]),
        "--timestamp: 'at' holds date32[day], but must be time",
    ),
    (
        "at",
        pa.array([0]).cast(pa.timestamp("s")),
        "--timezone: the times of 'at' have no time zone; name it by --timez",
    ),
    ("amount", pa.array([True]), "--value: 'amount' holds bool, but must be numbers or texts"),
    ("product", pa.array([[1]]), "--property: 'product' holds list<element: int64>, but must be texts, num"),
]


@pytest.mark.parametrize(("column", "values", "message"), TYPES)
def test_a_column_of_parquet_that_cannot_be_it_is_refused(
    tmp_path: Path,
    empty_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Said,
    column: str,
    values: pa.Array,
    message: str,
) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(empty_home))
    columns = {"who": pa.array(["u1"]), "at": pa.array([AT]), "amount": pa.array([1]), "product": pa.array(["x"])}
    parquet.write_table(pa.table(columns | {column: values}), tmp_path / "e.parquet")
    options = [*PURCHASES, "--value", "amount", "--property", "product=product"]
    assert run(["import-events", str(tmp_path / "e.parquet"), *options]) == 2
    assert f"Error: {message}" in said()[1]


def test_a_time_zone_for_times_that_have_one_is_refused(tmp_path: Path, said: Said) -> None:
    table = pa.table({"who": ["u1"], "at": pa.array([0], pa.timestamp("us", tz="UTC"))})
    parquet.write_table(table, tmp_path / "e.parquet")
    assert run(["import-events", str(tmp_path / "e.parquet"), *PURCHASES, "--timezone", "Asia/Shanghai"]) == 2
    assert "the times of 'at' have a time zone already" in said()[1]


def test_no_raw_id_is_printed_or_kept(tmp_path: Path, said: Said) -> None:
    secret = "6222020200112233445"
    rows = [(secret, AT, "x"), (secret + "x" * 256, AT, "1"), (secret, "noon", "1"), (secret, AT, "1")]
    table = write_csv(tmp_path / "e.csv", ("who", "at", "amount"), *rows)
    assert run(["import-events", str(table), *PURCHASES, "--value", "amount"]) == 1
    assert secret not in "".join(said())
    with a_platform(tmp_path / "home") as platform:
        assert len(facts(platform, "conversion")) == 1
    kept = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert secret.encode() not in kept


def test_a_history_of_units_that_nothing_counts_yet_is_the_past_of_cuped(tmp_path: Path) -> None:
    """Purchases of accounts come before anybody thinks of an experiment on accounts; least squares are numpy's."""
    chance, count = np.random.default_rng(7), 200
    treated = np.arange(count) % 2
    before = np.round(chance.uniform(50, 150, count), 2)
    after = np.round(0.8 * before + 5 * treated + chance.uniform(0, 20, count), 2)
    history = [(f"c{n // 2}", f"a{n}", "2026-11-03T10:00:00Z", amount) for n, amount in enumerate(before)]
    table = write_csv(tmp_path / "history.csv", ("customer", "account", "at", "amount"), *history)
    purchases = ["--timestamp", "at", "--event-name", "purchase", "--value", "amount"]
    by_both = ["--unit", "customer", "--other-unit", "account_id=account"]
    assert run(["import-events", str(table), *by_both, *purchases]) == 0

    spend = a_metric("spend", kind="sum", event="purchase", window=None, cuped_lookback=timedelta(days=28))
    plan = a_plan(method="fixed", planned_units=count, cuped=True)
    by_account = an_external_experiment(
        "by-account", unit_type="account_id", metrics=(a_metric_use("spend"),), plan=plan
    )
    with a_platform(tmp_path / "home") as platform:
        with platform.uow.begin() as work:
            create_metric(work, "default", spend, now=NOW)
        lead(platform.uow, by_account, "start")
    shown = [(f"a{n}", "2026-11-13T10:00:00Z", ("control", "treatment")[n % 2]) for n in range(count)]
    table = write_csv(tmp_path / "shown.csv", ("account", "at", "arm"), *shown)
    by_it = ["--unit", "account", "--unit-type", "account_id"]
    exposures = ["--kind", "exposure", "--timestamp", "at", "--variant", "arm", "--experiment-key", "by-account"]
    assert run(["import-events", str(table), *by_it, *exposures]) == 0
    bought = [(f"c{n // 2}", f"a{n}", "2026-11-14T10:00:00Z", amount) for n, amount in enumerate(after)]
    table = write_csv(tmp_path / "bought.csv", ("customer", "account", "at", "amount"), *bought)
    assert run(["import-events", str(table), *by_both, *purchases]) == 0

    with a_platform(tmp_path / "home") as platform:
        [metric] = as_document(platform.results("default", "by-account"))["metrics"]
    [found] = metric["comparisons"]
    centred = before - before.mean()
    # Lin (2013): the coefficient of the treatment in a regression with all interactions.
    columns = np.column_stack([np.ones(count), treated, centred, treated * centred])
    assert found["absolute"]["estimate"] == pytest.approx(np.linalg.lstsq(columns, after)[0][1], rel=1e-9)
    assert found["absolute"]["estimate"] != pytest.approx(after[1::2].mean() - after[::2].mean(), rel=1e-3)
