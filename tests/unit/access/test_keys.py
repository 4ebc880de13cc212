"""API keys and who they let in, on SQLite and PostgreSQL."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from tests.support.budget import examples
from tests.support.clock import Clock

from tutti.access.authenticator import Authenticator
from tutti.access.caller import Caller
from tutti.access.keys import (
    DEFAULT_ORGANIZATION_ID,
    DEFAULT_PROJECT_ID,
    NewKey,
    create_key,
    has_keys,
    list_keys,
    project_named,
    revoke_key,
    server_secret,
)
from tutti.base.address import is_loopback
from tutti.base.clock import monotonic_s
from tutti.base.errors import NotFound, Unauthenticated, Unavailable
from tutti.base.settings import Settings
from tutti.store.db import Database
from tutti.store.records import ApiKey

SECRET = b"secret"
NOT_BEARER = [
    None, b"", b"Bearer", b"Bearer ", b"Basic dTpw", b"bearer", b"tutti_abc", b"Bearer a b", b"Bearer a\nb",
    b"Bearer\ta", b"BearerX a", b"\xff\xfe", b"Bearer \x00 x", b"Bearer a,Bearer b c",
]  # fmt: skip
INJECTIONS = [
    b"' OR '1'='1", b"'; DROP TABLE api_keys; --", b"\" OR \"\"=\"", b"') OR 1=1 --", b"%", b"_", b"*", b"\\",
    b"' UNION SELECT * FROM api_keys --", b"1;SELECT pg_sleep(10)", b"$1", b":digest", b"{}", b"%s", b"\x00",
]  # fmt: skip


def authenticator(database: Database, clock: Clock | None = None, **fields: object) -> Authenticator:
    settings = Settings(secret=SECRET.decode(), **fields)  # type: ignore[arg-type]
    return Authenticator(database, settings, clock or monotonic_s)


def bearer(key: NewKey | str) -> bytes:
    return f"Bearer {key if isinstance(key, str) else key.secret}".encode()


async def enters(keys: Authenticator, authorization: bytes | None) -> Caller | None:
    try:
        return await keys.authenticate(authorization)
    except Unauthenticated:
        return None


async def drop_tables(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(ApiKey.metadata.drop_all)


async def rename_tables(database: Database, old: str, new: str) -> None:
    async with database.begin() as session:
        await session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


# --- keys ---------------------------------------------------------------------------------------------------


async def test_the_secret_of_a_key_is_not_stored(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    assert made.secret.startswith("tutti_") and len(made.secret) == len("tutti_") + 32
    async with database.read() as session:
        row = (await session.execute(select(ApiKey.__table__))).mappings().one()
    assert made.secret not in str(dict(row))
    assert made.secret.startswith(row["prefix"]) and len(row["prefix"]) == 12


async def test_keys_are_listed_by_age_with_the_revoked_ones(database: Database) -> None:
    project = await project_named(database, "other")
    first = await create_key(database, SECRET, "first")
    second = await create_key(database, SECRET, "second", project_id=project.id)
    await revoke_key(database, first.record.id)
    keys = await list_keys(database)
    assert [(key.name, key.revoked_at is None) for key in keys] == [("first", False), ("second", True)]
    assert [key.id for key in await list_keys(database, project.id)] == [second.record.id]


async def test_a_key_needs_a_project_that_exists(database: Database) -> None:
    with pytest.raises(NotFound, match="proj-none"):
        await create_key(database, SECRET, "laptop", project_id="proj-none")
    assert not await has_keys(database)


async def test_only_a_key_that_exists_can_be_revoked(database: Database) -> None:
    with pytest.raises(NotFound, match="key-none"):
        await revoke_key(database, "key-none")


async def test_revoking_twice_keeps_the_first_time(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    first = await revoke_key(database, made.record.id)
    assert (await revoke_key(database, made.record.id)).revoked_at == first.revoked_at


async def test_a_project_is_made_once(database: Database) -> None:
    assert (await project_named(database, "default")).id == DEFAULT_PROJECT_ID
    made = await project_named(database, "other")
    assert (await project_named(database, "other")).id == made.id
    assert made.organization_id == DEFAULT_ORGANIZATION_ID


# --- the server's secret ------------------------------------------------------------------------------------


def test_the_secret_is_made_once_and_is_for_the_owner_only(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    secret = server_secret(settings)
    assert len(secret) == 64
    assert server_secret(settings) == secret
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_processes_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from tutti.base.settings import Settings;"
        "from tutti.access.keys import server_secret;"
        "print(server_secret(Settings(data_dir=pathlib.Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert len({child.communicate()[0] for child in children}) == 1


def test_a_configured_secret_is_used_and_no_file_made(tmp_path: Path) -> None:
    assert server_secret(Settings(data_dir=tmp_path / "data", secret="s")) == b"s"
    assert not (tmp_path / "data").exists()


# --- who gets in ------------------------------------------------------------------------------------------


async def test_a_key_lets_its_project_in(database: Database) -> None:
    project = await project_named(database, "other")
    made = await create_key(
        database, SECRET, "laptop", project_id=project.id, requests_per_minute=7, tokens_per_minute=0
    )
    keys = authenticator(database, requests_per_minute=100, tokens_per_minute=200)
    assert await keys.authenticate(bearer(made)) == Caller(
        key_id=made.record.id,
        key_name="laptop",
        project_id=project.id,
        organization_id=DEFAULT_ORGANIZATION_ID,
        requests_per_minute=7,
        tokens_per_minute=200,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
async def test_on_loopback_any_key_will_do_until_there_is_one(database: Database, host: str) -> None:
    assert is_loopback(host)
    keys = authenticator(database, host=host)
    caller = await keys.authenticate(b"Bearer anything")
    assert (caller.key_id, caller.project_id) == ("key-default", DEFAULT_PROJECT_ID)
    assert await enters(keys, b"Bearer ") is None
    assert await enters(keys, None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", "", "127.0.0.1.example.org"])
async def test_elsewhere_nobody_gets_in_without_a_key(database: Database, host: str) -> None:
    assert not is_loopback(host)
    assert await enters(authenticator(database, host=host), b"Bearer anything") is None


async def test_the_first_key_closes_the_door_within_a_second(database: Database) -> None:
    keys = authenticator(database)
    assert await enters(keys, b"Bearer anything")
    made = await create_key(database, SECRET, "laptop")
    await asyncio.sleep(1.1)
    assert await enters(keys, b"Bearer anything") is None
    assert await enters(keys, bearer(made))


async def test_the_first_key_belongs_to_its_project_from_the_start(database: Database) -> None:
    keys = authenticator(database)
    await keys.authenticate(b"Bearer anything")
    project = await project_named(database, "other")
    made = await create_key(database, SECRET, "laptop", project_id=project.id)
    assert (await keys.authenticate(bearer(made))).project_id == project.id


async def test_revoking_the_last_key_does_not_open_the_door(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    await revoke_key(database, made.record.id)
    assert await enters(authenticator(database), b"Bearer anything") is None


async def test_a_revoked_key_stops_working_within_a_second(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    keys = authenticator(database)
    assert await enters(keys, bearer(made))
    await revoke_key(database, made.record.id)
    await asyncio.sleep(1.1)
    assert await enters(keys, bearer(made)) is None


async def test_a_key_of_another_servers_secret_is_not_valid(database: Database) -> None:
    made = await create_key(database, b"another secret", "laptop")
    assert await enters(authenticator(database), bearer(made)) is None


async def test_a_digest_is_not_a_key(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    assert await enters(authenticator(database), bearer(made.record.digest)) is None


async def test_requests_that_come_together_share_one_lookup(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    keys = authenticator(database)
    impatient = asyncio.create_task(keys.authenticate(bearer(made)))
    await asyncio.sleep(0)
    waiting = asyncio.gather(*(keys.authenticate(bearer(made)) for _ in range(50)))
    impatient.cancel()
    assert {caller.key_id for caller in await waiting} == {made.record.id}


async def test_a_key_that_was_just_seen_needs_no_database(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    keys = authenticator(database, Clock())  # dropping the tables may take long
    await keys.authenticate(bearer(made))
    await drop_tables(database)
    assert await enters(keys, bearer(made))


async def test_a_header_that_is_not_bearer_and_a_key_is_refused(database: Database) -> None:
    keys = authenticator(database)
    for header in NOT_BEARER:
        with pytest.raises(Unauthenticated, match="API key is needed"):
            await keys.authenticate(header)


async def test_the_scheme_may_be_in_any_case(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    assert await enters(authenticator(database), b"bEARER  " + made.secret.encode())


@hypothesis_settings(
    max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda tail: b"Bearer " + tail),
        st.sampled_from(INJECTIONS).map(lambda tail: b"Bearer " + tail.replace(b" ", b"/**/")),
        st.sampled_from(INJECTIONS).map(lambda tail: b"Bearer " + tail),
        st.text(max_size=300).map(lambda tail: b"Bearer " + tail.encode()),
    )
)
async def test_no_header_but_the_keys_own_gets_in(database: Database, header: bytes) -> None:
    if not await has_keys(database):
        await create_key(database, SECRET, "laptop")
    with pytest.raises(Unauthenticated):
        await authenticator(database).authenticate(header)
    assert await has_keys(database)


async def test_while_the_database_is_down_the_answer_is_unavailable(database: Database) -> None:
    await drop_tables(database)
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(Unavailable):
            await authenticator(database, host=host).authenticate(b"Bearer key")


async def test_a_failed_lookup_is_not_remembered(database: Database) -> None:
    made = await create_key(database, SECRET, "laptop")
    keys = authenticator(database, host="0.0.0.0")
    await rename_tables(database, "api_keys", "away")
    with pytest.raises(Unavailable):
        await keys.authenticate(bearer(made))
    await rename_tables(database, "away", "api_keys")
    assert await enters(keys, bearer(made))
