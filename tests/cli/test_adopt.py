"""Importing a finished experiment: what goes in, what is left out, and that nothing is left of a failure."""

from __future__ import annotations

import gzip
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abplatform.bootstrap import Platform
from abplatform.domain.metric import Metric
from abplatform.errors import AlreadyExists, Conflict, InvalidInput
from abplatform.services.adopt import Outcome, RowFault, adopt
from abplatform.services.define import create_experiment, create_metric
from abplatform.warehouse.lease import Lease
from tests.builders import NOW, a_metric_use, an_external_experiment
from tests.cli.tables import ACTOR, a_platform, a_request, a_target, facts, import_table, write_csv

HEADER = ("id", "arm", "bought", "spend", "age", "channel")
GOOD = (
    ("u1", "a", "0", "0", "31", "web"),
    ("u2", "b", "1", "12.50", "32.5", "app"),
    ("u3", "a", "TRUE", "-3", "", "web"),
    ("u4", "b", "false", "0.000001", "40", ""),
)
OUTCOMES = (Outcome(column="bought", kind="conversion"), Outcome(column="spend", kind="sum"))
EVERYTHING: dict[str, Any] = {
    "unit": "id",
    "outcomes": OUTCOMES,
    "covariates": ("age",),
    "dimensions": ("channel",),
}


@pytest.fixture
def platform(tmp_path: Path) -> Any:
    """A platform with an empty database and an empty lake."""
    with a_platform(tmp_path / "home") as built:
        yield built


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four good rows."""
    return write_csv(tmp_path / "trial.csv", HEADER, *GOOD)


def test_every_row_becomes_an_exposure_with_its_attributes(platform: Platform, table: Path) -> None:
    import_table(platform, a_request(table, **EVERYTHING))
    exposures = facts(platform, "exposure")
    assert [row["event_id"] for row in exposures] == ["trial:1", "trial:2", "trial:3", "trial:4"]
    assert [row["variant"] for row in exposures] == ["a", "b", "a", "b"]
    assert [dict(row["attributes"]) for row in exposures] == [
        {"channel": '"web"', "age": "31"},
        {"channel": '"app"', "age": "32.5"},
        {"channel": '"web"'},
        {"age": "40"},
    ]
    assert {row["timestamp"] for row in exposures} == {NOW}


def test_only_outcomes_that_are_not_zero_become_conversions(platform: Platform, table: Path) -> None:
    import_table(platform, a_request(table, **EVERYTHING))
    found = {row["event_id"]: (row["event"], row["value"]) for row in facts(platform, "conversion")}
    assert found == {
        "trial:2:bought": ("bought", None),
        "trial:3:bought": ("bought", None),
        "trial:2:spend": ("spend", Decimal("12.500000")),
        "trial:3:spend": ("spend", Decimal("-3.000000")),
        "trial:4:spend": ("spend", Decimal("0.000001")),
    }


def test_experiment_is_external_stopped_fixed_and_not_preregistered(platform: Platform, table: Path) -> None:
    report, _ = import_table(platform, a_request(table, **EVERYTHING))
    experiment, definition = report.experiment, report.experiment.definition
    assert (experiment.status, experiment.preregistered, definition.assignment) == ("stopped", False, "external")
    assert (definition.plan.method, definition.plan.planned_units, definition.hypothesis) == ("fixed", 4, "")
    assert (definition.unit_type, definition.clustered) == ("id", False)
    assert [(use.metric, use.role) for use in definition.metrics] == [("bought", "primary"), ("spend", "secondary")]
    assert (definition.covariates, definition.dimensions) == (("age",), ("channel",))


def test_results_count_what_the_table_says(platform: Platform, table: Path) -> None:
    import_table(platform, a_request(table, **EVERYTHING))
    bought, spend = platform.results("default", "trial").metrics
    assert [(arm.variant, arm.units, arm.sum) for arm in bought.variants] == [("a", 2, "1"), ("b", 2, "1")]
    assert [Decimal(arm.sum) for arm in spend.variants] == [Decimal(-3), Decimal("12.500001")]


def test_raw_unit_ids_are_in_no_file(platform: Platform, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", ("id", "arm", "bought"), ("13800138000", "a", 1), ("13900139000", "b", 0))
    import_table(platform, a_request(table, unit="id"))
    for file in (tmp_path / "home").rglob("*"):
        if file.is_file() and file.suffix == ".parquet":
            column = pq.read_table(file).to_pylist()
            assert "13800138000" not in str(column)
        elif file.is_file():
            assert b"13800138000" not in file.read_bytes()


def test_units_of_two_imports_never_meet(platform: Platform, table: Path) -> None:
    import_table(platform, a_request(table, unit="id"))
    import_table(platform, a_request(table, unit="id", key="again"))
    exposures = facts(platform, "exposure")
    assert len({row["unit"] for row in exposures}) == 8
    assert platform.results("default", "again").metrics[0].variants[1].sum == "1"


def test_members_of_a_cluster_share_its_pseudonym(platform: Platform, table: Path) -> None:
    report, _ = import_table(platform, a_request(table, cluster="channel", unit="id", outcomes=OUTCOMES[:1]))
    definition = report.experiment.definition
    assert (definition.unit_type, definition.analysis_unit, definition.clustered) == ("channel", "id", True)
    exposures = facts(platform, "exposure")
    assert exposures[0]["cluster"] == exposures[2]["cluster"] != exposures[1]["cluster"]
    assert report.refused == 1, "u4 has no channel"


BAD_CELLS = [
    ("arm", "", "is missing"),
    ("arm", "x" * 65, "must be 1 to 64 printable characters"),
    ("bought", "2", "'2' is not 0, 1, true or false"),
    ("bought", "yes", "'yes' is not 0, 1, true or false"),
    ("bought", "", "is missing"),
    (
        "spend",
        "12,50",
        "'12,50' is not a number; write a point before the decimals, and nothing between thousands",
    ),
    (
        "spend",
        "99999999999999.9999999",
        "'99999999999999.9999999' must be finite, with at most 14 digits before the point",
    ),
    ("spend", "100000000000000", "'100000000000000' must be finite, with at most 14 digits before the point"),
    ("spend", "nan", "'nan' is not a number"),
    ("spend", "1e999", "'1e999' must be finite, with at most 14 digits before the point"),
    ("spend", "", "is missing"),
    ("age", "old", "'old' is not a number"),
    ("age", "1e999", "'1e999' is not a number"),
    ("id", "", "is missing"),
    ("id", "u1", "is the unit of an earlier row"),
    ("id", "x" * 257, "must be 1 to 256 characters without NUL"),
    ("channel", "x" * 1025, "must be at most 1024 characters"),
]


@pytest.mark.parametrize(("column", "cell", "detail"), BAD_CELLS, ids=[f"{c}-{d[:24]}" for c, _, d in BAD_CELLS])
def test_a_bad_row_is_named_and_left_out_whole(
    platform: Platform, tmp_path: Path, column: str, cell: str, detail: str
) -> None:
    bad = dict(zip(HEADER, ("u5", "b", "1", "7", "50", "web"), strict=True)) | {column: cell}
    table = write_csv(tmp_path / "t.csv", HEADER, *GOOD[:2], tuple(bad.values()), *GOOD[2:])
    report, faults = import_table(platform, a_request(table, **EVERYTHING))
    assert faults == [RowFault(3, column, detail)]
    assert (report.refused, sum(report.units.values())) == (1, 4)
    assert [row["event_id"] for row in facts(platform, "exposure")] == ["trial:1", "trial:2", "trial:4", "trial:5"]
    assert not [row for row in facts(platform, "conversion") if row["event_id"].startswith("trial:3:")]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1e2", "100"),
        ("+1.5E-3", "0.0015"),
        (" 7 ", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("2.500000000", "2.5"),
        ("1.0000001", "1"),
        ("0.0000015", "0.000002"),
        ("-0.0000025", "-0.000002"),
        ("0.1234565000000000000000000000000000000001", "0.123457"),
    ],
)
def test_amounts_may_be_written_in_other_ways(platform: Platform, tmp_path: Path, cell: str, value: str) -> None:
    table = write_csv(tmp_path / "t.csv", ("arm", "spend"), ("a", cell), ("b", "1"))
    import_table(platform, a_request(table, outcomes=OUTCOMES[1:]))
    assert facts(platform, "conversion")[0]["value"] == Decimal(value)


def test_rows_that_cannot_be_split_are_named_with_the_right_numbers(platform: Platform, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('arm,bought\na,1\nb\n\n"a",0\nb,1,1\nb,maybe\nb,1\n')
    _, faults = import_table(platform, a_request(table))
    assert faults == [
        RowFault(2, None, "has 1 columns where the header has 2"),
        RowFault(4, None, "has 3 columns where the header has 2"),
        RowFault(5, "bought", "'maybe' is not 0, 1, true or false"),
    ]
    assert [row["event_id"] for row in facts(platform, "exposure")] == ["trial:1", "trial:3", "trial:6"]


def test_text_that_is_not_utf_8_spoils_its_row_only(platform: Platform, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(b"id,arm,bought\n\xff\xfe,a,1\nu2,a,1\n\xe4\xb8\xad,b,0\n")
    report, faults = import_table(platform, a_request(table, unit="id"))
    assert faults == [RowFault(1, "id", "is not valid UTF-8 text; save the table as UTF-8")]
    assert report.units == {"a": 1, "b": 1}


def test_quoted_line_breaks_and_a_byte_order_mark_are_read(platform: Platform, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(b'\xef\xbb\xbfarm,note,bought\r\na,"two\r\nlines, one cell",1\r\nb,,0\r\n')
    report, faults = import_table(platform, a_request(table, dimensions=("note",)))
    assert (faults, report.units) == ([], {"a": 1, "b": 1})


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize(
    ("pairs", "message"),
    [(3, "a quote is not closed"), (300, "row 103: one cell of 'note' has more than 20 line breaks")],
)
def test_a_quote_that_is_not_closed_is_refused(
    platform: Platform, tmp_path: Path, name: str, pairs: int, message: str
) -> None:
    """What follows would become one cell of a column that nobody reads; the count of quotes in the file is even."""
    pair = b"a,1,x\nb,0,y\n"
    content = b"arm,bought,note\n" + pair * 50 + b'a,1,24" screen\nb,0,x\na,1,"open\n' + pair * pairs
    table = tmp_path / name
    table.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InvalidInput, match=message):
        import_table(platform, a_request(table))
    _assert_nothing_is_left(platform)


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n", b"\r"])
def test_two_stray_quotes_that_hide_rows_are_refused_by_row_and_column(
    platform: Platform, tmp_path: Path, line_break: bytes
) -> None:
    lines = [b"arm,bought,note", *[b"a,1,x", b"b,0,y"] * 10, b'a,1,"open', *[b"a,1,x", b"b,0,y"] * 15, b'"', b"b,0,y"]
    table = tmp_path / "t.csv"
    table.write_bytes(line_break.join(lines))
    with pytest.raises(
        InvalidInput, match=r"row 21: one cell of 'note' has more than 20 line breaks; is a quote not closed"
    ):
        import_table(platform, a_request(table))
    _assert_nothing_is_left(platform)


def test_stray_quotes_that_hide_rows_in_a_row_of_too_many_columns_are_refused(
    platform: Platform, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text('arm,bought,note\na,1,x\na,1,"open\n' + "b,0,y\n" * 30 + 'a,1,"more,x\nb,0,y\n')
    with pytest.raises(InvalidInput, match=r"row 2 has more than 20 line breaks; is a quote not closed"):
        import_table(platform, a_request(table))
    _assert_nothing_is_left(platform)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_quote_within_a_cell_is_text_however_the_file_ends(platform: Platform, tmp_path: Path, ending: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f'arm,bought,note\na,1,24" screen\nb,0,"21 lines{chr(10) * 20}of text"{ending}', newline="")
    report, faults = import_table(platform, a_request(table))
    assert (report.units, faults) == ({"a": 1, "b": 1}, [])


def test_a_row_over_4_mb_is_refused_in_plain_words(platform: Platform, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(b"arm,bought,note\n" + b"a,1,x\nb,0,y\n" * 400_000 + b"a,1," + b"x" * (9 << 20) + b"\n")
    with pytest.raises(InvalidInput, match="a row is larger than 4 MB"):
        import_table(platform, a_request(table))


@pytest.mark.parametrize("encoding", ["latin-1", "gbk"])
def test_a_header_that_is_not_utf_8_is_refused(platform: Platform, tmp_path: Path, encoding: str) -> None:
    table = tmp_path / "t.csv"
    name = {"latin-1": "prénom", "gbk": "姓名"}[encoding]
    table.write_bytes(f"arm,bought,{name}\na,1,x\nb,0,y\n".encode(encoding))
    with pytest.raises(InvalidInput, match=r"the header of .* is not UTF-8"):
        import_table(platform, a_request(table))


def test_a_parquet_type_of_an_extension_is_refused_by_name(platform: Platform, tmp_path: Path) -> None:
    ids = pa.array([bytes(16), bytes([1] * 16)], pa.uuid())
    pq.write_table(pa.table({"arm": ["a", "b"], "bought": [1, 0], "id": ids}), tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match=r"'id' holds arrow.uuid; write it as text or numbers"):
        import_table(platform, a_request(tmp_path / "t.parquet", unit="id"))


TEMPORAL = [pa.duration("s"), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32(), pa.time64("us")]


@pytest.mark.parametrize("type_", TEMPORAL, ids=str)
@pytest.mark.parametrize(
    "role",
    [
        {"outcomes": (Outcome(column="when", kind="sum"),)},
        {"outcomes": (Outcome(column="when", kind="conversion"),)},
        {"covariates": ("when",)},
    ],
    ids=["sum", "conversion", "covariate"],
)
def test_times_of_parquet_are_no_numbers(
    platform: Platform, tmp_path: Path, type_: pa.DataType, role: dict[str, Any]
) -> None:
    integers = pa.array([0, 1], pa.int32() if type_ == pa.date32() else pa.int64())
    columns = {"arm": ["a", "b"], "bought": [1, 0], "when": integers.cast(type_)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match=r"'when' holds .*, not numbers"):
        import_table(platform, a_request(tmp_path / "t.parquet", **role))
    report, _ = import_table(platform, a_request(tmp_path / "t.parquet", dimensions=("when",)))
    assert report.refused == 0, "as an attribute it is text"


def test_long_fractions_of_parquet_are_rounded_and_no_row_is_lost(platform: Platform, tmp_path: Path) -> None:
    """Rows that go or stay by their outcome would bias the means."""
    thirds = [number / 3 for number in range(1000)]
    pq.write_table(pa.table({"arm": ["a", "b"] * 500, "spend": thirds}), tmp_path / "t.parquet")
    report, _ = import_table(platform, a_request(tmp_path / "t.parquet", outcomes=OUTCOMES[1:]))
    assert (report.refused, report.units) == (0, {"a": 500, "b": 500})
    found = {row["event_id"]: row["value"] for row in facts(platform, "conversion")}
    expected = {f"trial:{number + 1}:spend": round(Decimal(thirds[number]), 6) for number in range(1, 1000)}
    assert found == expected


def test_gzipped_csv_and_parquet_give_the_same_facts(platform: Platform, table: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "t.csv.gz"
    zipped.write_bytes(gzip.compress(table.read_bytes()))
    parquet = tmp_path / "t.parquet"
    columns = {
        "id": ["u1", "u2", "u3", "u4"],
        "arm": pa.array(["a", "b", "a", "b"]).dictionary_encode(),
        "bought": [False, True, True, False],
        "spend": pa.array([0.0, 12.5, -3.0, 0.000001]),
        "age": pa.array([31, 32.5, float("nan"), 40]),
        "channel": ["web", "app", "web", None],
    }
    pq.write_table(pa.table(columns), parquet)
    for key, path in (("plain", table), ("zipped", zipped), ("parquet", parquet)):
        import_table(platform, a_request(path, key=key, **EVERYTHING))
    described = {
        key: [
            (row["event_id"].split(":", 1)[1], row.get("variant"), row.get("value"), row.get("attributes"))
            for kind in ("exposure", "conversion")
            for row in facts(platform, kind)
            if row["event_id"].startswith(f"{key}:")
        ]
        for key in ("plain", "zipped", "parquet")
    }
    assert described["plain"] == described["zipped"] == described["parquet"]
    assert len(described["plain"]) == 9


def test_parquet_dimensions_keep_their_types(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"arm": ["a", "b"], "bought": [1, 0], "vip": [True, None], "tier": [3, 4]}), file)
    import_table(platform, a_request(file, dimensions=("vip", "tier")))
    assert [dict(row["attributes"]) for row in facts(platform, "exposure")] == [
        {"vip": "true", "tier": "3"},
        {"tier": "4"},
    ]


def test_variants_are_the_control_then_the_others_by_name(platform: Platform, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", ("arm", "bought"), *[(arm, 1) for arm in "dcba"])
    report, _ = import_table(platform, a_request(table, control="c", weights={"a": 1, "b": 2, "c": 3, "d": 4}))
    variants = report.experiment.definition.variants
    assert [(variant.key, variant.weight) for variant in variants] == [("c", 3), ("a", 1), ("b", 2), ("d", 4)]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"variant": "group"}, "has no column 'group'; it has 'id', 'arm', 'bought', 'spend', 'age', 'channel'"),
    ({"control": "z"}, "no row has 'z' in 'arm'; its values are 'a', 'b'"),
    ({"weights": {"a": 1}}, "weights must name each value of 'arm' ('a', 'b'); see 'b'"),
    ({"weights": {"a": 1, "b": 1, "c": 1}}, "see 'c'"),
    ({"outcomes": ()}, "at least one outcome"),
    ({"outcomes": OUTCOMES * 2}, "'bought' is named more than once as an outcome"),
    ({"primaries": ("age",)}, "'age' is not among the outcomes"),
    ({"key": "Not a key"}, "key: 'Not a key' must be 1 to 64 characters"),
    ({"unit": "id", "cluster": "id"}, "'id' is named more than once as a role"),
    ({"variant": "id"}, "'id' is"),
    ({"path": Path("/nowhere.csv")}, "/nowhere.csv cannot be read"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    platform: Platform, table: Path, changes: dict[str, Any], message: str
) -> None:
    request = a_request(**{"path": table, "unit": "id", **changes})
    with pytest.raises(InvalidInput) as refusal:
        import_table(platform, request)
    assert message in refusal.value.detail
    _assert_nothing_is_left(platform)


def _assert_nothing_is_left(platform: Platform) -> None:
    with platform.uow.reading() as work:
        assert work.experiments.all("default") == ()
        assert work.metrics.all("default") == ()
    assert facts(platform, "exposure") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"arm,bought\n", "has no rows to import"),
        (b"arm,bought\n,1\nx\n", "has no rows to import: all 2 rows are bad"),
        (b"arm,bought\na,1\na,0\n", "has the one value 'a'"),
        (b"arm,bought,arm\na,1,b\n", "has 2 columns 'arm'"),
        (b"arm;bought\na;1\nb;0\n", "is it separated by ';'\\? only commas are read"),
        (b"arm\tbought\na\t1\nb\t0\n", "is it separated by tabs\\?"),
        ("arm,bought\na,1\nb,0\n".encode("utf-16"), "only CSV \\(UTF-8, with commas\\) and Parquet are read"),
        (b"PAR1\x15\x04", "is not CSV by its content"),
        (b"arm,bought\n" + b"".join(b"v%d,1\n" % number for number in range(30)), "has more than 20 values"),
    ],
)
def test_a_table_without_an_experiment_in_it_is_refused(
    platform: Platform, tmp_path: Path, content: bytes, message: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        import_table(platform, a_request(table))
    _assert_nothing_is_left(platform)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_spreadsheet_is_refused_with_what_is_read(platform: Platform, tmp_path: Path, compression: int) -> None:
    """An .xlsx file is a zip archive."""
    table = tmp_path / "t.xlsx"
    with zipfile.ZipFile(table, "w", compression) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(InvalidInput, match=r"only CSV .* and Parquet are read"):
        import_table(platform, a_request(table))


def test_a_file_of_another_kind_that_lacks_the_column_is_told_what_is_read(platform: Platform, tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    table.write_text('[{"arm": "a"}]\n[{"arm": "b"}]\n')
    with pytest.raises(InvalidInput, match=r"has no column 'arm'.*; only CSV .* and Parquet are read"):
        import_table(platform, a_request(table))


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet"])
def test_a_damaged_file_is_one_clear_refusal(platform: Platform, tmp_path: Path, name: str) -> None:
    table = tmp_path / name
    whole = gzip.compress(b"arm,bought\n" + b"a,1\nb,0\n" * 50_000)
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="cannot be read"):
        import_table(platform, a_request(table))
    _assert_nothing_is_left(platform)


def test_a_key_that_is_taken_is_refused_and_the_taken_one_stays(platform: Platform, table: Path) -> None:
    import_table(platform, a_request(table, unit="id"))
    before = facts(platform, "exposure")
    with pytest.raises(AlreadyExists, match="there is an experiment 'trial' already"):
        import_table(platform, a_request(table, unit="id"))
    assert facts(platform, "exposure") == before


def test_a_draft_that_someone_made_by_hand_is_not_taken_for_a_killed_import(platform: Platform, table: Path) -> None:
    with platform.uow.begin() as work:
        create_metric(work, "default", Metric(key="x", name="x", kind="conversion", event="x"), now=NOW)
        draft = an_external_experiment("trial", metrics=(a_metric_use("x"),))
        create_experiment(work, "default", draft, now=NOW)
    with pytest.raises(AlreadyExists):
        import_table(platform, a_request(table, unit="id"))


class _KilledError(BaseException):
    """Stands for the end of the process."""


def test_a_failure_while_loading_leaves_nothing(
    platform: Platform, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise _KilledError

    monkeypatch.setattr(adopt, "take_step", fail)
    with pytest.raises(_KilledError):
        import_table(platform, a_request(table, unit="id"))
    _assert_nothing_is_left(platform)


def test_the_remains_of_a_killed_import_are_cleaned_and_never_count(
    platform: Platform, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(adopt, "_finish", die)
        patch.setattr(adopt, "_undo", lambda *_: None)
        with pytest.raises(_KilledError):
            import_table(platform, a_request(table, **EVERYTHING))
    assert len(facts(platform, "exposure")) == 4, "the killed import had loaded its facts"
    report, _ = import_table(platform, a_request(table, **EVERYTHING))
    assert report.experiment.status == "stopped"
    assert len(facts(platform, "exposure")) == 4
    bought, spend = platform.results("default", "trial").metrics
    assert [arm.sum for arm in bought.variants] == ["1", "1"]
    assert [Decimal(arm.sum) for arm in spend.variants] == [Decimal(-3), Decimal("12.500001")]


def test_two_imports_of_one_key_do_not_run_at_once(platform: Platform, table: Path) -> None:
    lease = Lease(platform.database, "import:default:trial")
    assert lease.acquire()
    with pytest.raises(Conflict, match="an import of trial is under way"):
        import_table(platform, a_request(table, unit="id"))
    lease.release()
    import_table(platform, a_request(table, unit="id"))


def test_identical_metrics_are_reused_and_others_keep_their_key(platform: Platform, table: Path) -> None:
    with platform.uow.begin() as work:
        same = Metric(key="bought", name="Bought something", kind="conversion", event="bought")
        other = Metric(key="spend", name="Spend", kind="sum", event="payment")
        create_metric(work, "default", same, now=NOW)
        create_metric(work, "default", other, now=NOW)
    report, _ = import_table(platform, a_request(table, **EVERYTHING))
    assert [each.metric.key for each in report.metrics] == ["bought", "trial-spend"]
    assert [each.made is None for each in report.metrics] == [True, False]


def test_columns_whose_names_give_one_key_become_two_metrics(platform: Platform, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", ("arm", "Total Spend", "total-spend"), ("a", 1, 2), ("b", 3, 4))
    outcomes = tuple(Outcome(column=name, kind="sum") for name in ("Total Spend", "total-spend"))
    report, _ = import_table(platform, a_request(table, outcomes=outcomes))
    assert [each.metric.key for each in report.metrics] == ["total-spend", "trial-total-spend"]
    first, second = platform.results("default", "trial").metrics
    assert [Decimal(arm.sum) for arm in (*first.variants, *second.variants)] == [1, 3, 2, 4]


def test_rows_are_numbered_on_over_batches_and_memory_stays_bounded(platform: Platform, tmp_path: Path) -> None:
    """150,000 rows are three batches; the repeated units stand in another batch than the first of their name."""
    table = tmp_path / "t.csv"
    with table.open("w") as file:
        file.write("id,arm,bought\n")
        file.writelines(f"u{number % 149_998},{'ab'[number % 2]},{number % 2}\n" for number in range(150_000))
    shares: list[float] = []
    faults: list[RowFault] = []
    report = adopt.adopt_table(
        a_target(platform),
        a_request(table, unit="id"),
        actor=ACTOR,
        clock=lambda: NOW,
        on_fault=faults.append,
        progress=shares.append,
    )
    assert [fault.row for fault in faults] == [149_999, 150_000]
    assert report.units == {"a": 74_999, "b": 74_999}
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert platform.results("default", "trial").health.units == {"a": 74_999, "b": 74_999}
