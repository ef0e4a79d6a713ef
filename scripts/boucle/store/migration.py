"""From the tables that a database has to those that this code expects."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from boucle.errors import UnknownRevision
from boucle.store.database import FEEDBACK, Database

if TYPE_CHECKING:  # importing it takes a quarter of a second, which only a process that migrates shall pay
    from alembic.config import Config

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
# A migration's file is named for its revision: to know the newest, nobody has to load them.
REVISIONS = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*_*.py"))


def migrate(database: Database) -> None:
    """Bring the tables to this code's revision; of several processes that start at once, one does it.

    Raises:
        UnknownRevision: when a newer version of the code has been here; nothing is touched then.
    """
    with database.reading() as connection:
        if _revision(connection) == REVISIONS[-1]:
            return
    with database.writing() as connection:
        # Again: another process may have migrated while this one waited for its turn.
        before = _revision(connection)
        if before == REVISIONS[-1]:
            return
        if before is not None and before not in REVISIONS:
            raise UnknownRevision(
                f"the database is at revision {before}, this code knows {REVISIONS[-1]} at most: "
                "start the version of Boucle that was here last, or give this one a database of its own"
            )
        _upgrade(connection, before)
        log.info("the store's tables are at revision %s; they were at %s", REVISIONS[-1], before or "none")


def configuration(connection: sa.Connection) -> "Config":
    """What Alembic must be told: where the migrations are, and whose transaction to use."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _revision(connection: sa.Connection) -> str | None:
    """The database's revision, or None before its first migration."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: sa.Connection, before: str | None) -> None:
    # It tells of each part that it loads; what was done is logged here.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command

    config = configuration(connection)
    # The first versions of Boucle made these very tables, without saying which revision they are.
    if before is None and sa.inspect(connection).has_table(FEEDBACK.name):
        command.stamp(config, REVISIONS[0])
    command.upgrade(config, "head")
