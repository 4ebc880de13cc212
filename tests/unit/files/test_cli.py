"""`tutti files check`."""

import json
from pathlib import Path

import pytest
import typer
from tests.unit.files.cases import lines, table
from typer.testing import CliRunner, Result

from tutti.cli.files_check import check


def run(*arguments: str) -> Result:
    app = typer.Typer(add_completion=False)
    app.command()(check)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.jsonl"
    path.write_bytes(lines({"text": "a"}, {"text": "b"}))
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(lines({"text": "a"}, {"text": 1}, {"text": 2}))
    return path


def test_a_sound_file_is_ok(good: Path) -> None:
    result = run(str(good))
    assert (result.exit_code, result.stdout) == (0, "OK Checks passed\n")


def test_a_wrong_file_exits_with_1_and_tells_each_line(bad: Path) -> None:
    result = run(str(bad))
    assert result.exit_code == 1
    assert result.stdout.startswith("X Line 2: `text` must be")
    assert "line 3: `text` must be" in result.stderr


def test_json_has_the_members_of_the_official_reports(good: Path, bad: Path) -> None:
    told = json.loads(run(str(good), "--json").stdout)
    assert told["is_check_passed"] and told["found"] and told["utf8"] and told["load_json"]
    assert (told["filetype"], told["num_samples"], told["file_size"]) == ("jsonl", 2, good.stat().st_size)
    assert (told["message"], told["dataset_format"]) == ("Checks passed", "GENERAL")
    told = json.loads(run(str(bad), "--json").stdout)
    assert (told["is_check_passed"], told["key_value"], told["line_number"]) == (False, False, 2)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert "There is no file" in run(str(tmp_path / "none.jsonl")).stdout
    assert "rename it" in run(str(tmp_path / "a.txt")).stdout


def test_what_a_file_is_for_decides(good: Path, tmp_path: Path) -> None:
    assert "custom_id" in run(str(good), "--purpose", "batch-api").stdout
    assert run(str(good), "--purpose", "eval").exit_code == 0
    assert run(str(good), "--purpose", "fun").exit_code == 2
    (tmp_path / "a.parquet").write_bytes(table(input_ids=[[1, 2], [3]]))
    told = json.loads(run(str(tmp_path / "a.parquet"), "--json").stdout)
    assert (told["dataset_format"], told["token_counts"]) == ("TOKENS", {"*": 3})


def test_a_custom_id_used_twice_is_found(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_bytes(lines(*[{"custom_id": "a", "body": {"model": "m"}}] * 2))
    assert "Line 2: `custom_id` is that of line 1" in run(str(path), "--purpose", "batch-api").stdout


def test_a_csv_error_names_the_line_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n"1\n1",2\n3\n')
    assert (
        "Line 4: The row has 1 cells where the header names 2" in run(str(path), "--purpose", "eval").stdout
    )
