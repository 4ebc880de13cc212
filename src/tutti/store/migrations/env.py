"""Alembic runs this for every command. The connection comes from whoever runs the command (__main__.py)."""

from alembic import context

from tutti.store.records import Record

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Record.metadata,
    render_as_batch=True,  # SQLite cannot alter a table: Alembic copies it
)
with context.begin_transaction():
    context.run_migrations()
