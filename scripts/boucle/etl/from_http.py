"""Rows of a paged JSON API: by page number, by the pointer to the next page, or by what is newer than the last row."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import HTTPError

from boucle.errors import InvalidSource, SourceAway
from boucle.etl.ingestion import Column, HttpSource
from boucle.etl.taking import Desk, Position, Spool, Takings, Wanted, Written, text_of

BATCH_ROWS = 50_000
CHUNK_BYTES = 65_536
LONGEST_WAIT_SECONDS = 30.0
# An API that answers a page past its last one with the last one would be read for ever.
MOST_REPEATS = 2

PageName = int | str | None


class _Unsteady(SourceAway):
    """What may go better the next time."""

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class _Page:
    name: PageName
    items: list[Mapping[str, Any]]
    next: PageName
    digest: str


@dataclass
class _Place:
    """Where in the source we are: ``skip`` items of the page are taken; ``since`` is what the API is asked for."""

    page: PageName
    skip: int
    since: str
    high: str

    @property
    def position(self) -> Position:
        return {"page": self.page, "skip": self.skip, "since": self.since, "high": self.high}


def take(source: HttpSource, wanted: Wanted, desk: Desk) -> Takings:
    """What the API has from where it was left; what came before a failure is given, then the failure is raised.

    Raises:
        SourceAway: when it does not answer, also after the retries, or not with what can be read.
    """
    if (wanted.since or wanted.until) and not source.cursor:
        raise InvalidSource(f"source {source.name} has no cursor: --since and --until have nothing to compare")
    place = _place(source, wanted, desk.position(wanted.lane))
    client, taken, repeats, last = _Client(source, desk.environment), (0, 0), 0, ""
    end = place.position
    spool = Spool(desk, source.url, wanted.lane)
    try:
        while True:
            try:
                page = client.fetch(place, wanted)
            except SourceAway:
                if spool.rows:
                    yield spool.taking(place.position)
                raise
            repeats = repeats + 1 if page.digest == last and page.items else 0
            last = page.digest
            is_cut = not repeats and _add(source, page, place, wanted, spool, taken)
            if page.items and not repeats:
                end = place.position
            is_last = page.next is None or not page.items or repeats >= MOST_REPEATS
            if is_cut or is_last or spool.rows >= BATCH_ROWS:
                position = place.position if is_cut else _after(source, page, place, end if is_last else None)
                if spool.rows:
                    taken = (taken[0] + spool.rows, taken[1] + spool.bytes)
                    yield spool.taking(position)
                    spool.close()
                    spool = Spool(desk, source.url, wanted.lane)
            if is_cut or is_last:
                return
            place.page, place.skip = page.next, 0
    finally:
        spool.close()


def _place(source: HttpSource, wanted: Wanted, position: Position) -> _Place:
    """Where the lane was left, or its beginning."""
    return _Place(
        page=position.get("page", _first(source)),
        skip=int(position.get("skip", 0)),
        since=str(position.get("since", wanted.since)),
        high=str(position.get("high", "")),
    )


def _add(source: HttpSource, page: _Page, place: _Place, wanted: Wanted, spool: Spool, taken: tuple[int, int]) -> bool:
    """Write the page's new items; whether it was cut because no more are wanted."""
    column = source.column(source.cursor)
    for item in page.items[place.skip :]:
        value = text_of(item.get(source.cursor)) if source.cursor else None
        if _is_within(column, value, wanted) and not spool.add(item, wanted, taken):
            return True
        place.skip += 1
        if value is not None and (not place.high or _order(column, value) > _order(column, place.high)):
            place.high = value
    return False


def _after(source: HttpSource, page: _Page, place: _Place, end: Position | None) -> Position:
    """Where to go on behind the page; ``end`` is behind the last row, if there is no page to come."""
    if end is None:
        return {"page": page.next, "skip": 0, "since": place.since, "high": place.high}
    if source.since_parameter:
        # Rows as new as the newest may come later: they are asked for again, and the key tells which are known.
        return {"page": _first(source), "skip": 0, "since": place.high or place.since, "high": place.high}
    if not source.page_parameter and not source.next:
        return {}
    # The last page may grow.
    return end


class _Client:
    """Asks, with retries."""

    def __init__(self, source: HttpSource, environment: Mapping[str, str]) -> None:
        self._source = source
        self._session = requests.Session()
        for header, variable in source.headers.items():
            if variable not in environment:
                raise InvalidSource(f"source {source.name}: the environment has no {variable}, for its header {header}")
            self._session.headers[header] = environment[variable]

    def fetch(self, place: _Place, wanted: Wanted) -> _Page:
        """The page at ``place``."""
        attempts = Retrying(
            stop=stop_after_attempt(self._source.retries + 1),
            wait=_wait,
            retry=retry_if_exception_type(_Unsteady),
            reraise=True,
        )
        return attempts(self._ask, place.page, self._parameters(place, wanted))

    def _parameters(self, place: _Place, wanted: Wanted) -> dict[str, str | int]:
        source, given = self._source, dict(self._source.parameters)
        pairs = {
            source.page_parameter: place.page,
            source.next_parameter: place.page,
            source.since_parameter: place.since,
            source.until_parameter: wanted.until,
        }
        return given | {name: value for name, value in pairs.items() if name and value not in (None, "")}

    def _ask(self, name: PageName, parameters: dict[str, str | int]) -> _Page:
        where = f"source {self._source.name}: {self._source.url}" + (f", page {name}" if name is not None else "")
        try:
            body = self._body(where, parameters)
        except (requests.RequestException, HTTPError) as error:
            raise _Unsteady(f"{where} does not answer ({_reason(error)})") from error
        try:
            content = json.loads(body, parse_float=Written, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise _Unsteady(f"{where} is no JSON ({error}); it has {len(body):,} bytes") from error
        items = _inside(content, self._source.items)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise SourceAway(f"{where} holds no list of objects at items = {self._source.items!r}")
        return _Page(name, items, self._next(name, content), hashlib.sha256(body).hexdigest())

    def _body(self, where: str, parameters: dict[str, str | int]) -> bytes:
        seconds = self._source.timeout_seconds
        deadline, body = time.monotonic() + seconds, bytearray()
        with self._session.get(self._source.url, params=parameters, timeout=seconds, stream=True) as response:
            if response.status_code in (408, 425, 429) or response.status_code >= 500:
                raise _Unsteady(f"{where} answers {response.status_code}", _retry_after(response))
            if response.status_code >= 400:
                raise SourceAway(f"{where} answers {response.status_code}")
            # Not iter_content: it would wait for a whole chunk, for ever if the bytes come drop by drop.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > self._source.page_bytes:
                    raise SourceAway(f"{where} is longer than page_bytes = {self._source.page_bytes:,}, unpacked")
                if time.monotonic() > deadline:
                    raise _Unsteady(f"{where} took longer than {seconds:g} s")
        return bytes(body)

    def _next(self, name: PageName, content: object) -> PageName:
        if self._source.page_parameter:
            return int(name or 0) + 1
        found = _inside(content, self._source.next) if self._source.next else None
        return found if isinstance(found, str) and found else None


def _first(source: HttpSource) -> PageName:
    return source.first_page if source.page_parameter else None


def _inside(content: object, path: str) -> object:
    """What stands at the dotted path, or None."""
    for key in path.split(".") if path else []:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _is_within(column: Column | None, value: str | None, wanted: Wanted) -> bool:
    if column is None or value is None or not (wanted.since or wanted.until):
        return True
    order = _order(column, value)
    is_new = not wanted.since or order >= _order(column, wanted.since)
    return is_new and (not wanted.until or order < _order(column, wanted.until))


def _order(column: Column | None, text: str) -> tuple[int, Any]:
    """What the cursor's values are compared by; what is not of its type comes last."""
    try:
        match column.type if column else "text":
            case "integer" | "number":
                return 0, float(text)
            case "date":
                return 0, date.fromisoformat(text[:10]).isoformat()
            case "timestamp":
                moment = datetime.fromisoformat(text)
                return 0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            case _:
                return 0, text
    except ValueError:
        return 1, text


_backoff = wait_exponential_jitter(multiplier=0.5, max=LONGEST_WAIT_SECONDS)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait_seconds if isinstance(error, _Unsteady) else 0.0
    return max(_backoff(state), min(asked, LONGEST_WAIT_SECONDS))


def _retry_after(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
