"""API keys: making, listing and revoking them. Only an HMAC of a key is stored: a copy of the database opens
nothing."""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from sqlalchemy import select

from tutti.base.clock import now
from tutti.base.errors import NotFound
from tutti.base.ids import new_id, new_secret
from tutti.base.settings import Settings
from tutti.store.db import Database
from tutti.store.records import ApiKey, Project
from tutti.store.secrets import Sealer

DEFAULT_ORGANIZATION_ID = "org-default"
DEFAULT_PROJECT_ID = "proj-default"
"""The first migration makes both."""

_SHOWN_CHARACTERS = 12

_ANY_KEY = select(ApiKey.id).limit(1)


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. Only the caller has `secret`: it cannot be had again."""

    record: ApiKey
    secret: str


def server_secret(settings: Settings) -> bytes:
    """Return the key of the HMAC. Nodes that share a PostgreSQL must share `settings.secret`."""
    return settings.secret.encode() if settings.secret else _kept_secret(settings.data_dir)


def sealer(settings: Settings) -> Sealer:
    """Return what seals the credentials of clients under the server's secret, and opens them again."""
    return Sealer(server_secret(settings))


def digest(secret: bytes, key: bytes) -> str:
    return hmac.digest(secret, key, "sha256").hex()


async def create_key(
    database: Database,
    secret: bytes,
    name: str,
    *,
    project_id: str = DEFAULT_PROJECT_ID,
    requests_per_minute: int = 0,
    tokens_per_minute: int = 0,
) -> NewKey:
    """Make a key. Raises NotFound for an unknown project. A limit of 0 means the server's default."""
    key = new_secret("tutti")
    record = ApiKey(
        id=new_id("key"),
        project_id=project_id,
        name=name,
        prefix=key[:_SHOWN_CHARACTERS],
        digest=digest(secret, key.encode()),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        created_at=now(),
    )
    async with database.begin() as session:
        if await session.get(Project, project_id) is None:
            raise NotFound(f"There is no project {project_id!r}.", param="project_id")
        session.add(record)
    return NewKey(record, key)


async def list_keys(database: Database, project_id: str | None = None) -> Sequence[ApiKey]:
    """Return the keys, oldest first, revoked ones included; of every project if none is named."""
    query = select(ApiKey).order_by(ApiKey.id)
    if project_id is not None:
        query = query.where(ApiKey.project_id == project_id)
    async with database.read() as session:
        return (await session.scalars(query)).all()


async def revoke_key(database: Database, key_id: str) -> ApiKey:
    """Revoke a key: it stops working within a second, everywhere. Revoking it twice changes nothing. Raises
    NotFound."""
    async with database.begin() as session:
        record = await session.get(ApiKey, key_id)
        if record is None:
            raise NotFound(f"There is no key {key_id!r}.", param="key_id")
        if record.revoked_at is None:
            record.revoked_at = now()
    return record


async def has_keys(database: Database) -> bool:
    """Return True if a key was ever made: from then on nobody gets in without one, even if all are
    revoked."""
    return bool(await database.poll(_ANY_KEY))


async def project_named(database: Database, slug: str) -> Project:
    """Return the project with this slug; it is made in the default organisation if there is none."""
    async with database.begin() as session:
        project = await session.scalar(select(Project).where(Project.slug == slug))
        if project is None:
            project = Project(
                id=new_id("proj"),
                organization_id=DEFAULT_ORGANIZATION_ID,
                name=slug,
                slug=slug,
                created_at=now(),
            )
            session.add(project)
    return project


def _kept_secret(data_dir: Path) -> bytes:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / "secret"
    with FileLock(data_dir / "secret.lock"):
        if not path.exists():
            made = data_dir / "secret.new"
            made.touch(mode=0o600)
            made.chmod(0o600)
            made.write_text(secrets.token_hex(32))
            made.replace(path)
    return path.read_bytes()
