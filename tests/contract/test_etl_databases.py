"""The example of ETL on real databases, by DuckDB, in both directions; a target stays whole where a load fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from contract.mariadb import PASSWORD, mariadb
from contract.postgresql import postgresql
from etl_example import check_example, engine_of, filled

from capstan.data.etl import targets
from capstan.errors import InvalidDataError
from capstan.spec.etl import load_etl
from capstan.verbs.etl import move_rows

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with ExitStack() as ending:
        yield {
            "mariadb": ending.enter_context(mariadb()),
            "postgresql": ending.enter_context(postgresql()).replace("+psycopg2", ""),
        }


@pytest.mark.parametrize("target", ["postgresql", "mariadb"])
def test_the_example_moves_rows_from_mariadb_by_duckdb(
    target: str, urls: dict[str, str], tmp_path: Path
) -> None:
    place = filled(tmp_path, urls["mariadb"], urls[target])
    file = place / "etl.yaml"
    file.write_text(file.read_text().replace("  engine: Spark\n", ""))
    check_example(place, urls[target])


@pytest.mark.parametrize("target", ["postgresql", "mariadb"])
def test_a_table_stays_as_it_was_where_its_load_fails(
    target: str, urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = filled(tmp_path, urls["mariadb"], urls[target])
    file = place / "etl.yaml"
    file.write_text(file.read_text().replace("  engine: Spark\n", ""))
    move_rows(load_etl(file), place / ".capstan")
    engine = engine_of(urls["mariadb"])
    with engine.begin() as connection:
        connection.exec_driver_sql("delete from orders where id = 1")
    engine.dispose()
    rows = targets._rows

    def broken(*given: object) -> Iterator[list[dict[str, object]]]:
        yield from rows(*given)  # type: ignore[arg-type]
        yield [{"id": "no number", "town": None, "ordered_at": "never", "amount": "much"}]

    with monkeypatch.context() as patched:
        patched.setattr(targets, "_rows", broken)
        with pytest.raises(
            InvalidDataError, match=r"load.paid: table 'paid_orders' cannot be written"
        ) as raised:
            move_rows(load_etl(file), place / ".capstan")
    assert PASSWORD not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)
    engine = engine_of(urls[target])
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from paid_orders").scalar() == 3
    engine.dispose()
    move_rows(load_etl(file), place / ".capstan")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from paid_orders").scalar() == 2
    engine.dispose()
