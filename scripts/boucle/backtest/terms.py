"""What is replayed: the user's project, with another source and another target where the command says so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from boucle.config import Project, Section
from boucle.errors import InvalidProject

AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True)
class Terms:
    """The options of the command; an empty one leaves project.toml's value."""

    data: str = ""
    target: str = ""
    drop: tuple[str, ...] = ()
    query: str = ""
    metric: str = ""
    candidates: tuple[str, ...] = ()
    reference: float = 0.2


def project_for(terms: Terms, project: Project) -> Project:
    """The project whose reference data are the first rows of the file, and whose test rows are all later ones.

    A given target says that the file is another table: then the project's own ``drop`` and ``query`` do not apply.

    Raises:
        InvalidProject: when an option is not what project.toml allows.
    """
    if not 0 < terms.reference < 1:
        raise InvalidProject(f"--reference {terms.reference:g}: must be a share of the rows, between 0 and 1")
    given = {"source": terms.data, "target": terms.target, "drop": terms.drop, "query": terms.query}
    data = {name: value for name, value in given.items() if value}
    if terms.target:
        data = {"drop": (), "query": "", **data}
    chosen = {"metric": terms.metric, "candidates": terms.candidates}
    return project.model_copy(
        update={
            "data": _changed(project.data, {**data, "test_share": 1 - terms.reference, "split": "time"}),
            "training": _changed(project.training, {name: value for name, value in chosen.items() if value}),
        }
    )


def reading(project: Project, path: Path) -> Project:
    """The same project, its rows in this file: learners work in folders of their own, which have no warehouse."""
    return project.model_copy(update={"data": project.data.model_copy(update={"source": str(path)})})


def shuffled(project: Project) -> Project:
    """The same rows in an order that has nothing to do with time, the same at every call."""
    rows = project.data.query.rstrip().rstrip(";") or "SELECT * FROM source"
    numbered = f"SELECT *, row_number() OVER () AS boucle_row FROM ({rows})"  # noqa: S608  # the user's own
    mixed = f"FROM ({numbered}) ORDER BY hash(boucle_row + {project.training.seed})"
    query = "SELECT * EXCLUDE (boucle_row) " + mixed  # the query inside is the user's own
    return project.model_copy(update={"data": project.data.model_copy(update={"query": query})})


def _changed(section: AnySection, values: dict[str, Any]) -> AnySection:  # values of several types
    try:
        # Not the whole project: that would read the environment again, which the options override.
        return type(section)(**{**section.model_dump(), **values})
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise InvalidProject(f"--{detail['loc'][0]} {detail['input']}: {detail['msg']}") from error
