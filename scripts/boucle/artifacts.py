"""Versions, the champion pointer and its history: write aside, verify, swap; move aside, delete."""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from boucle import background, files, scorer
from boucle.arrays import FloatArray
from boucle.background import Rows
from boucle.contract import Cell, Contract, Label, Record
from boucle.encoding import encode_columns
from boucle.errors import ChampionMoved, CorruptArtifact, ModelNotFound, NobodyInCharge
from boucle.history import History, Promotion, Reign, reigns
from boucle.pacing import breathe
from boucle.scorer import CompiledEmbedding, Scorer

if TYPE_CHECKING:  # scikit-learn costs seconds and 100 MB: only who unpickles a version needs it
    from boucle.embedding import Embedding
    from boucle.models import Model

POINTER = "champion.json"
HISTORY = "promotions.jsonl"
MANIFEST = "manifest.json"
MODEL_CARD = "model_card.md"
WRITING = ".writing-"
DELETED = ".deleted-"
ABANDONED_AFTER_SECONDS = 3600
VERSION = re.compile(r"v(0|[1-9][0-9]*)")

HELD_OUT = "held-out test rows"  # among a manifest's metrics


class Manifest(BaseModel):
    """What a version is, and the hash of each of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    created_at: str
    project: str
    fingerprint: str
    preparation_id: str
    contract: Contract
    algorithm: str
    parameters: dict[str, Any]
    metric: str
    metrics: dict[str, dict[str, float]]
    reference_rows: int
    feedback_row: int  # the last feedback row that the model was fitted on; later ones are its exam
    parent_version: str | None
    run_id: int | None
    mlflow_run_id: str | None
    libraries: dict[str, str]
    strategy: str = "scratch"
    verdict: str = "promoted"
    reason: str = ""
    scorer: str = "scikit-learn"  # what serving answers with: linear, network, trees, or the pickles themselves
    scorer_verdict: str = "it was made before versions were compiled"
    files: dict[str, str] = {}


@dataclass(frozen=True)
class _Version:
    """What every form of a version tells."""

    manifest: Manifest

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def contract(self) -> Contract:
        return self.manifest.contract


@dataclass(frozen=True)
class ModelVersion(_Version):
    """One version, loaded: the embedding and the model that were fitted together."""

    embedding: "Embedding"
    model: "Model"

    def outputs(self, records: list[Record]) -> FloatArray:
        """Probabilities (n_records, n_classes), or the quantity (n_records, 1), of validated records."""
        return self.model.outputs(self.embedding.vectors(records))

    def predict(self, record: Record) -> Label:
        """The most probable class, or the quantity."""
        return self.contract.target.decode(self.outputs([record])[0].tolist())


@dataclass(frozen=True)
class PickledScorer:
    """A version that could not be compiled, with the methods of `boucle.scorer.Scorer`."""

    version: ModelVersion

    def row(self, values: Sequence[Cell]) -> list[float]:
        """Outputs of one row of typed values in the contract's order."""
        outputs: list[float] = self.matrix([[value] for value in values])[0].tolist()
        return outputs

    def matrix(self, columns: Iterable[Sequence[Cell]]) -> FloatArray:
        """Outputs, shape (n_rows, n_outputs), of columns of typed values in the contract's order."""
        return self.encoded(encode_columns(self.version.contract, columns))

    def encoded(self, rows: FloatArray) -> FloatArray:
        """The same of rows as `boucle.encoding.encode_rows` writes them."""
        return self.version.model.outputs(self.version.embedding.vectors_of(rows))


@dataclass(frozen=True)
class ServedVersion(_Version):
    """One version as serving uses it: scikit-learn is not imported if the version was compiled."""

    embedding: "Embedding | CompiledEmbedding"
    scorer: Scorer | PickledScorer
    background_file: bytes | None = None

    @cached_property
    def background(self) -> Rows:
        """Reference rows to explain answers against; none when the version was made before they were kept."""
        return background.read(self.background_file) if self.background_file else ()


class Artifacts:
    """The folder of versions. Only its methods write there, and each is safe against a crash and against a rival."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pointer_path = root / POINTER
        self._history = History(root / HISTORY)
        # What was loaded to be promoted, by its manifest's hash.
        self._promoted: tuple[str, ServedVersion] | None = None

    def publish(self, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
        """Store a new version under the next free number; nobody sees it before it is whole.

        ``manifest.version`` and ``manifest.files`` are filled in here.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        aside = self.root / f"{WRITING}{os.getpid()}-{time.monotonic_ns()}"
        aside.mkdir()
        for name, content in contents.items():
            files.write_durably(aside / name, content)
        hashes = {name: files.digest(content) for name, content in contents.items()}
        while True:
            version = f"v{self._last_number() + 1}"
            complete = manifest.model_copy(update={"version": version, "files": hashes})
            files.write_durably(aside / MANIFEST, complete.model_dump_json(indent=2).encode())
            files.sync_directory(aside)
            try:
                aside.rename(self.root / version)
            except OSError:  # a rival took this number between the look and the rename
                if not (self.root / version).exists():
                    raise
                continue
            files.sync_directory(self.root)
            return complete

    def load(self, version: str) -> ModelVersion:
        """The version, every file verified before it is unpickled.

        Raises:
            ModelNotFound: when there is no such version.
            CorruptArtifact: when a file is not what the manifest promises.
        """
        return self._load(self.manifest(version))

    def load_champion(self) -> ModelVersion:
        """The version in charge, verified from the pointer down.

        Raises:
            ModelNotFound: when nothing was promoted yet.
            CorruptArtifact: when a file is not what pointer and manifest promise.
        """
        return self._load(self._champion_manifest())

    def load_served(self, version: str | None = None) -> ServedVersion:
        """The version in charge, verified as `load_champion` does, or the one that is named; ready to serve.

        A champion that was verified and loaded to be promoted by this object is not read again.
        """
        if version is not None:
            return self._load_served(self.manifest(version))
        promoted, self._promoted = self._promoted, None
        if promoted and promoted[0] == self.champion().manifest_sha256:
            return promoted[1]
        return self._load_served(self._champion_manifest())

    def champion(self) -> Promotion:
        """Where champion.json points.

        Raises:
            ModelNotFound: when nothing was promoted yet.
            CorruptArtifact: when the pointer is not readable.
        """
        try:
            return Promotion.model_validate_json(self.pointer_path.read_bytes())
        except FileNotFoundError as error:
            raise ModelNotFound(f"{self.root} holds no champion; run make train") from error
        except ValidationError as error:
            raise CorruptArtifact(f"{self.pointer_path}: is not a champion pointer; promote a version again") from error

    def champion_version(self) -> str | None:
        """The version in charge, or None; a pointer that cannot be read puts nobody in charge, and may be replaced."""
        current = self._current()
        return current.version if current else None

    def reigns(self) -> Iterator[Reign]:
        """Who was champion from when to when, and why, newest first; the first one is the champion's.

        Raises:
            ModelNotFound, CorruptArtifact: when there is no champion, as `champion` does.
        """
        # In this order: a promotion between the two readings is then told once, not twice.
        noted = self._history.newest_first()
        last = next(noted, None)
        champion = self.champion()
        return reigns(chain([champion] if last in (None, champion) else [champion, last], noted))

    def champion_at(self, moment: datetime) -> Reign:
        """Who was in charge at ``moment``, which has a time zone.

        Raises:
            NobodyInCharge: when the first promotion came later.
            ModelNotFound, CorruptArtifact: when there is no champion, as `champion` does.
        """
        first = None
        for reign in self.reigns():
            if reign.began_by(moment):
                return reign
            first = reign.promotion
        known = f"; {first.version}, the first that is known, was promoted at {first.promoted_at}" if first else ""
        raise NobodyInCharge(f"nobody was champion at {moment.isoformat()}{known}")

    def promote(self, version: str, replacing: str | None, reason: str, actor: str) -> Promotion:
        """Point at ``version``, provided that ``replacing`` is still in charge: a compare-and-set.

        So a slow run that began before the last promotion cannot undo it. Promoting the champion changes nothing.

        Raises:
            ChampionMoved: when another version is in charge by now.
            ModelNotFound, CorruptArtifact: when the version cannot be loaded; the pointer stays.
        """
        content = self._read_manifest(version)
        loaded = self._load_served(_parse_manifest(self.root / version / MANIFEST, content))  # as every worker will
        self._promoted = files.digest(content), loaded
        breathe()
        with self._lock():
            current = self._current()
            if current and current.version == version:
                files.read_verified(self.root / version / MANIFEST, current.manifest_sha256)
                return current
            in_charge = current.version if current else None
            if in_charge != replacing:
                raise ChampionMoved(
                    f"{in_charge} is the champion by now, not {replacing}: {version} does not replace it"
                )
            promotion = Promotion(
                version=version,
                # Read under the lock: the version may have been pruned since it was loaded.
                manifest_sha256=files.digest(self._read_manifest(version)),
                previous=in_charge,
                promoted_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                reason=reason,
                actor=actor,
            )
            if current:  # its line is missing where a crash, or a Boucle without history, came right behind the pointer
                self._history.note(current)
            files.replace(self.pointer_path, promotion.model_dump_json(indent=2).encode())
            self._history.note(promotion)
        return promotion

    def delete(self, unneeded: Collection[str]) -> list[str]:
        """Delete versions; those that went, oldest first.

        The champion, the previous one and the newest, whose number must not be given twice, stay in any case. While
        nobody is in charge nothing is deleted.

        A worker that is loading one of them finds a file missing (`CorruptArtifact`) and keeps the version it serves.
        """
        with self._lock():
            current, versions = self._current(), self.versions()
            if current is None or not versions:
                return []
            staying = (current.version, current.previous, versions[-1])
            gone = [version for version in versions if version in unneeded and version not in staying]
            for version in gone:
                # Renamed first: a version is whole, or it is none.
                (self.root / version).rename(self.root / f"{DELETED}{version}-{time.monotonic_ns()}")
            files.sync_directory(self.root)
        for aside in self.root.glob(f"{DELETED}*"):  # also those of a process that was killed here
            shutil.rmtree(aside, ignore_errors=True)
        return gone

    def manifest(self, version: str) -> Manifest:
        """The manifest of a version.

        Raises:
            ModelNotFound: when there is no such version.
            CorruptArtifact: when it is not readable.
        """
        return _parse_manifest(self.root / version / MANIFEST, self._read_manifest(version))

    def model_card(self, version: str) -> str:
        """The model card of a version, in Markdown."""
        manifest = self.manifest(version)
        return files.read_verified(self.root / version / MODEL_CARD, manifest.files[MODEL_CARD]).decode()

    def verify_champion(self) -> None:
        """Nothing, if every file of the champion is the one that its manifest promises.

        Raises:
            ModelNotFound: when nobody is in charge, or the version is gone.
            CorruptArtifact: naming the file that was changed.
        """
        self._verified(self._champion_manifest())

    def versions(self) -> list[str]:
        """Every whole version, oldest first."""
        return [f"v{number}" for number in sorted(self._numbers())]

    def sweep(self) -> None:
        """Delete what a killed writer left behind long ago."""
        for aside in self.root.glob(f"{WRITING}*"):
            if time.time() - aside.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                shutil.rmtree(aside, ignore_errors=True)

    def _load_served(self, manifest: Manifest) -> ServedVersion:
        contents = self._verified(manifest)
        rows, name = contents.get(background.FILE), scorer.FILE if scorer.FILE in contents else scorer.EARLIER_FILE
        if name not in contents:
            version = self._load(manifest)
            return ServedVersion(manifest, version.embedding, PickledScorer(version), rows)
        try:
            arrays = scorer.read(contents[name])
            embedding = CompiledEmbedding(manifest.preparation_id, manifest.contract, arrays)
            return ServedVersion(manifest, embedding, Scorer(manifest.contract, arrays), rows)
        except Exception as error:  # NumPy, msgspec and ONNX Runtime have one of their own for every way to be wrong
            path = self.root / manifest.version / name
            raise CorruptArtifact(f"{path}: is no scorer of this version of Boucle ({error!r})") from error

    def _load(self, manifest: Manifest) -> ModelVersion:
        from boucle.embedding import Embedding
        from boucle.models import Model

        contents = self._verified(manifest)
        scaler, projector, estimator = (
            files.unpickle(contents[f"{name}.pkl"]) for name in ("scaler", "embedding", "model")
        )
        return ModelVersion(
            manifest,
            Embedding(manifest.preparation_id, manifest.contract, scaler, projector),
            Model(estimator, manifest.contract.target.n_classes),
        )

    def _verified(self, manifest: Manifest) -> dict[str, bytes]:
        # All of them, also those that are not used: a version is whole or it is refused.
        folder = self.root / manifest.version
        return {name: files.read_verified(folder / name, sha256) for name, sha256 in manifest.files.items()}

    def _champion_manifest(self) -> Manifest:
        pointer = self.champion()
        path = self.root / pointer.version / MANIFEST
        return _parse_manifest(path, files.read_verified(path, pointer.manifest_sha256))

    def _read_manifest(self, version: str) -> bytes:
        if VERSION.fullmatch(version):  # never a path that a client made up
            with suppress(FileNotFoundError):
                return (self.root / version / MANIFEST).read_bytes()
        known = ", ".join(self.versions()) or "none; run make train"
        raise ModelNotFound(f"no version {version!r}; there are: {known}")

    def _current(self) -> Promotion | None:
        try:
            return self.champion()
        except (ModelNotFound, CorruptArtifact):
            return None

    def _last_number(self) -> int:
        """The highest that was ever given, as far as folders, whole or not, and the history know."""
        names = [path.name for path in self.root.glob("v*")]
        names += [promotion.version for promotion in self._history.newest_first()]
        return max((int(name[1:]) for name in names if name[1:].isdecimal()), default=0)

    def _numbers(self) -> list[int]:
        names = (path.name for path in self.root.glob("v*") if (path / MANIFEST).is_file())
        return [int(name[1:]) for name in names if name[1:].isdecimal()]

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise CorruptArtifact(f"{path}: is not a manifest of this version of Boucle") from error
