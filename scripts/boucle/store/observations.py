"""What the observer saw of the model in production: the last time in full, and a history that does not grow."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from boucle.store.database import OBSERVATIONS, Database, now

MOST = 1_000


@dataclass(frozen=True)
class StoredObservation:
    """An observation as JSON, and the point of it that a history shows."""

    created_at: str
    point: str
    content: str


class Observations:
    """The table of observations, in the order in which they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, point: str, content: str) -> None:
        """Store one, and thin the older ones when there are `MOST`.

        Every second one of the older half goes, again and again: the farther back, the sparser, and the first stays.
        """
        columns = OBSERVATIONS.c
        with self._database.writing() as connection:
            connection.execute(sa.insert(OBSERVATIONS).values(created_at=now(), point=point, content=content))
            kept = connection.execute(sa.select(columns.id).order_by(columns.id)).scalars().all()
            if len(kept) > MOST:
                connection.execute(sa.delete(OBSERVATIONS).where(columns.id.in_(kept[1 : len(kept) // 2 : 2])))

    def newest(self) -> StoredObservation | None:
        """The last one."""
        query = sa.select(OBSERVATIONS).order_by(OBSERVATIONS.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            found = connection.execute(query).one_or_none()
        return StoredObservation(found.created_at, found.point, found.content) if found else None

    def points(self, most: int) -> Sequence[str]:
        """The points of the history, oldest first; of more than ``most`` an even choice, the last one always."""
        query = sa.select(OBSERVATIONS.c.point).order_by(OBSERVATIONS.c.id)
        with self._database.reading() as connection:
            points = connection.execute(query).scalars().all()
        step = -(-len(points) // most) or 1
        return points[::-step][::-1]
