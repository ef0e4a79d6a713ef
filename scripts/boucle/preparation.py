"""Raw rows to data/ref_data.csv through the embedding; the test rows are held out first."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from pydantic import BaseModel, ConfigDict
from sklearn.model_selection import train_test_split

from boucle import cleaning, embedding, files, source
from boucle.arrays import FloatArray, Labels
from boucle.config import Project
from boucle.contract import Classes, Contract, Label, Quantity, Record, Target
from boucle.embedding import Embedding
from boucle.errors import CorruptArtifact, InvalidSource, NotPrepared

SUMMARY = "preparation.json"
REFERENCE = "ref_data.csv"
TEST = "test_data.csv"
REFERENCE_RECORDS = "ref_records.csv"

Report = Callable[[str], None]


class Summary(BaseModel):
    """The content of data/preparation.json, written last: what it names belongs together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    contract: Contract
    files: dict[str, str]


@dataclass(frozen=True)
class Preparation:
    """What training needs: the fitted embedding, the reference rows as vectors, the held-out rows as records.

    ``vectors`` has shape (n_rows, n_components); labels are positions of classes, or quantities.
    """

    embedding: Embedding
    vectors: FloatArray
    labels: Labels
    test_records: list[Record]
    test_labels: Labels
    reference_csv: bytes

    @cached_property
    def reference_records(self) -> list[Record]:
        """The rows behind ``vectors``, as they were: read when they are asked for, as there may be many."""
        return _records(self.contract, _read_text_csv(self.reference_csv))

    @property
    def id(self) -> str:
        return self.embedding.id

    @property
    def contract(self) -> Contract:
        return self.embedding.contract

    def knowing(self, labels: Sequence[Label]) -> "Preparation":
        """The same where the target has more classes; it gets another name: rows fit it that did not fit before."""
        target = self.contract.target
        if not labels or not isinstance(target, Classes):
            return self
        return replace(self, embedding=self.embedding.predicting(target.extended(labels)))


def prepare(project: Project, data: Path, report: Report, database: str = "") -> Preparation:
    """Read the source, hold out the test rows, fit the embedding on the rest, and write it all to ``data``.

    ``database`` is the URL of the PostgreSQL that the project may have its warehouse in.

    Raises:
        InvalidSource: when the data do not fit what project.toml says of them.
    """
    path = source.materialize(project, data, database)
    report(f"reading {path}")
    raw = source.read(path, project.data.query, project.data.missing_values)
    table = cleaning.clean(raw, project.data.target, project.data.drop, project.data.missing_values)
    if len(table) < len(raw):
        report(f"{len(raw) - len(table):,} rows without a {project.data.target} were left out")
    target = cleaning.target_of(table[project.data.target], project.data.task)
    labels = pd.Series(cleaning.labels_of(table[project.data.target], target), dtype=object)
    reference, test = _split(table.assign(**{project.data.target: labels}), target, project)
    contract = cleaning.infer_contract(
        reference,
        target,
        nullable=[name for name in table.columns if table[name].isna().any()],
        missing_values=project.data.missing_values,
        max_categories=project.data.max_categories,
    )
    report(f"fitting the embedding on {len(reference):,} rows, {len(contract.features)} columns")
    fitted = embedding.fit(
        preparation_id(project, path),
        contract,
        cleaning.records(reference),
        project.embedding.components,
        project.training.seed,
    )
    report(f"embedding {len(reference):,} rows as {len(fitted.columns)} components")
    vectors = fitted.vectors(cleaning.records(reference))
    tables = {
        REFERENCE: _reference_csv(fitted, vectors, list(reference[contract.target.name])),
        REFERENCE_RECORDS: _csv(reference),
        TEST: _csv(test),
    }
    _write(data, fitted, tables)
    report(f"{data / REFERENCE} written: {len(reference):,} rows; {data / TEST}: {len(test):,} rows held out")
    return load(data)


def load(data: Path) -> Preparation:
    """What `prepare` wrote, every file verified against the summary.

    Raises:
        NotPrepared: when it is missing, or a file is not the one that `prepare` wrote.
    """
    try:
        summary = Summary.model_validate_json((data / SUMMARY).read_bytes())
        contents = {name: files.read_verified(data / name, sha256) for name, sha256 in summary.files.items()}
        scaler, projector = (files.unpickle(contents[f"embedding/{name}.pkl"]) for name in ("scaler", "embedding"))
        reference, reference_csv, test = (contents[name] for name in (REFERENCE, REFERENCE_RECORDS, TEST))
    except (OSError, ValueError, KeyError, CorruptArtifact) as error:
        raise NotPrepared(f"{data} holds no complete preparation ({error}); run make prepare") from error
    fitted = Embedding(summary.id, summary.contract, scaler, projector)
    rows, held_out = _read_text_csv(reference), _read_text_csv(test)
    return Preparation(
        embedding=fitted,
        vectors=rows[fitted.columns].to_numpy(dtype=np.float64),
        labels=_labels(summary.contract, rows["target"]),
        test_records=_records(summary.contract, held_out),
        test_labels=_labels(summary.contract, held_out[summary.contract.target.name]),
        reference_csv=reference_csv,
    )


def preparation_id(project: Project, path: Path) -> str:
    """A name for what `prepare` would make of this source: equal inputs, equal name."""
    inputs = {
        "source": files.file_digest(path),
        "data": project.data.model_dump(mode="json", exclude={"source"}),
        "embedding": project.embedding.model_dump(mode="json"),
        "seed": project.training.seed,
        "libraries": [np.__version__, pd.__version__, sklearn.__version__],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def is_current(project: Project, data: Path, database: str = "") -> bool:
    """Whether ``data`` holds, whole, what `prepare` would make now."""
    try:
        return load(data).id == preparation_id(project, source.materialize(project, data, database))
    except NotPrepared:
        return False


def _split(table: pd.DataFrame, target: Target, project: Project) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = np.arange(len(table))
    held = round(len(table) * project.data.test_share)
    labels = table[project.data.target].astype(str)
    if not 0 < held < len(table):
        raise InvalidSource(f"{len(table)} rows are too few to hold out {project.data.test_share:.0%} of them")
    if project.data.split == "time":
        kept, test = rows[:-held], rows[-held:]
    elif isinstance(target, Quantity):
        kept, test = train_test_split(rows, test_size=held, random_state=project.training.seed)
    else:
        # A class with one row cannot be split; it stays with the reference.
        once = labels.map(labels.value_counts()).to_numpy() < 2
        kept, test = train_test_split(
            rows[~once], test_size=held, random_state=project.training.seed, stratify=labels[~once]
        )
        kept = np.concatenate([kept, rows[once]])
    return table.iloc[np.sort(kept)], table.iloc[np.sort(test)]


def _write(data: Path, fitted: Embedding, tables: dict[str, bytes]) -> None:
    contents = tables | {
        "embedding/scaler.pkl": files.pickled(fitted.scaler),
        "embedding/embedding.pkl": files.pickled(fitted.projector),
    }
    for name, content in contents.items():
        files.replace(data / name, content)
    hashes = {name: files.digest(content) for name, content in contents.items()}
    summary = Summary(id=fitted.id, contract=fitted.contract, files=hashes)
    files.replace(data / SUMMARY, summary.model_dump_json(indent=2).encode())


def _reference_csv(fitted: Embedding, vectors: FloatArray, labels: list[Any]) -> bytes:
    return _csv(pd.DataFrame(vectors, columns=fitted.columns).assign(target=labels))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _read_text_csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)


def _records(contract: Contract, table: pd.DataFrame) -> list[Record]:
    cells = table.drop(columns=contract.target.name).to_dict("records")
    return [contract.validate_cells({str(name): cell for name, cell in row.items()}) for row in cells]


def _labels(contract: Contract, texts: pd.Series) -> Labels:
    if isinstance(contract.target, Quantity):
        return texts.to_numpy(dtype=np.float64)
    index = {str(label): position for position, label in enumerate(contract.target.classes)}
    return np.array([index[text] for text in texts], dtype=np.int64)
