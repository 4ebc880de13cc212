"""The flags of `tutti serve`."""

import inspect

import pytest
import typer
from typer.models import OptionInfo

from tutti.app.environment import environment
from tutti.base.settings import Settings
from tutti.cli.flags import flag, settings
from tutti.cli.serve import alias, serve, size


def test_every_setting_is_a_flag_but_for_credentials() -> None:
    assert set(Settings.model_fields) - set(inspect.signature(serve).parameters) == {"secret", "hub_token"}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("models", "--model"),
        ("aliases", "--alias"),
        ("memory_budget_bytes", "--memory-budget"),
        ("drain_timeout_s", "--drain-timeout"),
        ("data_dir", "--data-dir"),
    ],
)
def test_flags_have_the_names_that_people_expect(setting: str, expected: str) -> None:
    assert flag(setting) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("8G", 8 * 2**30), ("500M", 500 * 2**20), ("1.5GiB", 3 * 2**29), ("1024", 1024)]
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "G", "-1G", "8X"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        size(text)


def test_an_alias_may_have_wildcards() -> None:
    assert alias("meta-llama/*=Qwen/Qwen3-4B") == ("meta-llama/*", "Qwen/Qwen3-4B")
    with pytest.raises(typer.BadParameter):
        alias("meta-llama/*")


def test_children_get_the_same_settings_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(port=0, models=["a", "b"], aliases={"x/*": "a"}, pull_on_use=False, load_wait_s=1.5)
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "database_url",
            "postgresql://u:secret@db:port/x",
            "--database-url: Value error, the port is not a number",
        ),
        (
            "database_url",
            "postgresql://u:secret@[::1/x",
            "--database-url: Value error, it is not a valid URL",
        ),
        ("blob_endpoint", "http://minio:99999", "--blob-endpoint: Value error, the port is not a number"),
        ("hub_url", "https://[x", "--hub-url: Value error, it is not a valid URL"),
        (
            "cors_origins",
            ["https://a.example/path"],
            "--cors-origins: Value error, https://a.example/path is not an",
        ),
    ],
)
def test_a_setting_that_cannot_be_read_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], name: str, value: object, told: str
) -> None:
    with pytest.raises(typer.Exit):
        settings(**{name: value})
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
    assert "secret" not in said


def test_origins_may_be_one_list() -> None:
    origins = Settings(cors_origins=["https://A.example,http://b.example:8080", "*"]).cors_origins
    assert origins == ["https://a.example", "http://b.example:8080", "*"]


def test_the_flags_are_in_groups() -> None:
    panels = {it.rich_help_panel for it in map(option_of, inspect.signature(serve).parameters.values())}
    assert {"Network", "Models", "Limits", "Code interpreter"} <= panels
    assert len(panels) < 12


def option_of(parameter: inspect.Parameter) -> OptionInfo:
    return parameter.annotation.__metadata__[0]
