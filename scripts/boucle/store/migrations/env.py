"""Alembic runs this file: migrate through the connection, and inside the transaction, of `boucle.store.migration`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
