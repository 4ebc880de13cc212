"""Clients' templates: what they may do, and what hostile ones cannot."""

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator

import psutil
import pytest

from tutti.base.errors import InvalidRequest, RateLimited
from tutti.features.evaluations.admission import MOST_WAITING, TemplateChecks
from tutti.features.evaluations.templates import Renderer, TemplateFailed, renderer

ROW = {"name": "Bob", "info": {"question": "Why?"}, "tags": ["a", "b"], "range": "mine", "self": 1}


@pytest.fixture
async def opened() -> AsyncIterator[Renderer]:
    async with renderer() as opened:
        yield opened


async def text(opened: Renderer, source: str) -> str:
    return (await opened.render({"t": source}, ROW))["t"]


async def reason(opened: Renderer, source: str) -> str:
    with pytest.raises(TemplateFailed) as caught:
        await text(opened, source)
    assert caught.value.template == "t"
    return caught.value.reason


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("Hi {{ name }}: {{ info.question }} <&>", "Hi Bob: Why? <&>"),
        ("{% for tag in tags %}[{{ tag }}]{% endfor %}", "[a][b]"),
        ("{{ info | tojson }}", '{"question": "Why?"}'),
        ("{{ name | upper }}{% if missing is defined %}!{% endif %}", "BOB"),
        ("{{ missing | default('-') }} {{ range }}", "- mine"),
    ],
)
async def test_renders_the_fields_of_the_row(opened: Renderer, source: str, expected: str) -> None:
    assert await text(opened, source) == expected


@pytest.mark.parametrize("source", ["{{ missing }}", "{{ missing.x }}", "{% if missing %}{% endif %}"])
async def test_a_field_that_is_not_there_is_named(opened: Renderer, source: str) -> None:
    assert "'missing' is undefined" in await reason(opened, source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ name.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ ''['__class__'] }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ (name | attr('__class__')).__mro__ }}",
        "{{ tags.append(1) }}",
        "{{ lipsum() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{{ [].__reduce__() }}",
    ],
)
async def test_nothing_but_the_row_can_be_reached(opened: Renderer, source: str) -> None:
    assert await reason(opened, source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**11 }}",
        "{{ range | center(10**10) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{% for a in dict(a=1) %}{{ 'x' * 2000000 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 1 / 0 }}",
    ],
)
async def test_what_takes_too_much_fails_at_once(source: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    async with renderer() as opened:
        assert await reason(opened, source)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


LOOP = "{% for a in 'x' * 90000 %}{% for b in 'x' * 90000 %}{% endfor %}{% endfor %}"


async def test_what_never_ends_is_ended_and_blocks_nobody(opened: Renderer) -> None:
    slow, turns = asyncio.create_task(reason(opened, LOOP)), 0
    while not slow.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 10  # of the two seconds' worth that it was given; one, had it been in their way
    assert "too long" in await slow
    assert await text(opened, "{{ name }}") == "Bob"


async def test_c_code_that_never_ends_is_ended_too(opened: Renderer) -> None:
    assert "too long" in await reason(opened, "{{ (10 ** 5000000) ** 3 % 7 }}")


async def test_a_render_that_is_given_up_does_not_answer_the_next(opened: Renderer) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await text(opened, LOOP)
    assert await text(opened, "{{ name }}") == "Bob"


def program() -> psutil.Process:
    """The renderer's. Other children of this process may end just now, or have ended."""
    found = list[psutil.Process]()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            found += [child] if "tutti.workers.render" in child.cmdline() else []
    (it,) = found
    return it


async def test_closing_leaves_no_process() -> None:
    async with renderer() as opened:
        await text(opened, "{{ name }}")
        child = program()
    assert not child.is_running()


async def test_the_process_has_none_of_our_secrets(opened: Renderer) -> None:
    os.environ["TUTTI_SECRET"] = "s3cret"
    try:
        await text(opened, "{{ name }}")
        child = program()
        assert "TUTTI_SECRET" not in child.environ()
    finally:
        del os.environ["TUTTI_SECRET"]


async def test_every_field_can_be_reached_through_the_row(opened: Renderer) -> None:
    row = {"my question": "2+2", "a-b": 1, "if": 2, "row": 3, "items": 4, "": 5}
    source = (
        "{{ row['my question'] }}{{ row['a-b'] }}{{ row['if'] }}{{ row.row }}{{ row['items'] }}{{ row[''] }}"
    )
    assert (await opened.render({"t": source}, row))["t"] == "2+212345"


async def test_a_missing_field_is_told_with_those_there_are(opened: Renderer) -> None:
    assert await reason(opened, "{{ row['my answer'] }}") == (
        "'dict object' has no attribute 'my answer'; the row has `name`, `info`, `tags`, `range`, `self`"
    )
    with pytest.raises(TemplateFailed) as caught:
        await opened.render({"t": "{{ x }}"}, {str(number): 1 for number in range(1000)})
    assert caught.value.reason.endswith("`19` and 980 more")


# --- the check when an evaluation is asked for --------------------------------------------------------------

PARAM = "parameters.judge.system_template"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ name", "unexpected end"),
        ("{{ my question }}", 'written {{ row["its name"] }}'),
        ("{% for %}", "line 1"),
        ("{{ name | nosuchfilter }}", "nosuchfilter"),
        ("{% nosuchtag %}", "nosuchtag"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply"),
        ("{{ " + "9" * 5000 + " }}", "limit"),
        ("x" * 100_000, "longer than 65536"),
        ("{{ 7 ** (10 ** 8) }}", "more than 2 seconds"),
        ("{{ name }}{{ 'a' | center(1000000000) }}", "more than 512 MiB"),
        ("{{ 'a' * 10 ** 11 }}", "more than 512 MiB"),
        (LOOP, "more than 2 seconds"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
    ],
)
async def test_a_template_that_no_row_can_be_rendered_with_is_refused_when_it_is_sent(
    source: str, why: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await TemplateChecks().check("p", {PARAM: source})
    assert (caught.value.param, caught.value.code) == (PARAM, "invalid_template")
    assert why in caught.value.message


async def test_what_depends_on_the_row_is_not_refused() -> None:
    source = (
        "{{ a.b.c[0] }}{{ a / b }}{{ a | tojson }}{% for it in a %}{{ it * 2 }}{% endfor %}{{ a | int + 1 }}"
    )
    await TemplateChecks().check("p", {PARAM: source})


async def test_the_checks_of_a_project_take_turns_and_others_do_not_wait_for_them() -> None:
    checks = TemplateChecks()
    slow = [asyncio.create_task(checks.check("p", {PARAM: LOOP})) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await checks.check("p", {PARAM: "{{ a }}"})
    await checks.check("another", {PARAM: "{{ a }}"})
    assert sum(task.done() for task in slow) < MOST_WAITING
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    await checks.check("p", {PARAM: "{{ a }}"})
