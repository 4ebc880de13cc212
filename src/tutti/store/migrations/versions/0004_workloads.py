"""Workloads of every kind are wanted and found in the rows that were models' alone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the wants anew, since SQLite cannot change a primary key. Whoever still waits writes its want
    again within a second."""
    op.add_column("replicas", _kind())
    op.drop_table("wants")
    op.create_table(
        "wants",
        _kind(primary_key=True),
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("spec", sa.JSON),
        sa.Column("gpus", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("wanted_at", sa.Float(53), nullable=False),
    )


def _kind(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("kind", sa.String(32), primary_key=primary_key, nullable=False, server_default="model")
