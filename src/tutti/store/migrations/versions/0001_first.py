"""The first tables; the organisation and project that everything belongs to until others are made."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    tenants()
    usage()
    models()
    nodes()


def tenants() -> None:
    organizations = op.create_table(
        "organizations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization_id", sa.String(64), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.String(128), nullable=False, unique=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("requests_per_minute", sa.BigInteger, nullable=False),
        sa.Column("tokens_per_minute", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("revoked_at", sa.Float(53)),
    )
    now = time.time()
    op.bulk_insert(organizations, [{"id": "org-default", "name": "default", "created_at": now}])
    op.bulk_insert(
        projects,
        [
            {
                "id": "proj-default",
                "organization_id": "org-default",
                "name": "default",
                "slug": "default",
                "created_at": now,
            }
        ],
    )


def usage() -> None:
    op.create_table(
        "usage",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("latency_ms", sa.Float(53), nullable=False),
        sa.Column("first_token_ms", sa.Float(53)),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_index("usage_by_project", "usage", ["project_id", "created_at"])
    op.create_table(
        "rate_windows",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
    )


def models() -> None:
    op.create_table(
        "custom_models",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("entry", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )


def nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("memory_budget_bytes", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "wants",
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("wanted_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("node_id", sa.String(64), nullable=False, index=True),
        sa.Column("model", sa.String(255), nullable=False, index=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("entry", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("slots", sa.BigInteger, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("restarts", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.Float(53), nullable=False),
        sa.Column("used_at", sa.Float(53), nullable=False),
    )
