"""The only module that knows a URL: the API as typed calls."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import requests
from pydantic import TypeAdapter, ValidationError

from webapp.answers import (
    Answer,
    BatchPrediction,
    BatchProblem,
    Datum,
    Explanation,
    Feedback,
    FieldError,
    Label,
    Prediction,
    Problem,
)
from webapp.latency import Reading, parse
from webapp.learning import Loop, ModelCard, Models, TrainingRun
from webapp.production import Monitoring, ReportRequest
from webapp.schema import Schema, parse_schema

CONNECT_SECONDS = 2.0
# The status is asked for every two seconds: a silent API must not keep the page waiting for long.
STATUS_SECONDS = 3.0
ANSWER_SECONDS = 15.0
# Thousands of rows are predicted for it, and one explanation is made at a time.
EXPLAIN_SECONDS = 30.0
# A version is loaded and verified before it serves.
PROMOTE_SECONDS = 60.0

A = TypeVar("A", bound=Answer)
BatchAnswer = BatchPrediction | BatchProblem
_batch_line: TypeAdapter[BatchAnswer] = TypeAdapter(BatchAnswer)


class ApiDown(Exception):
    """Nobody answers; waiting or starting the stack helps, changing the input does not."""


class ApiProblem(Exception):
    """The API answered that it cannot do this, in one sentence, with the fields at fault."""

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = (), status: int = 0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.status = status


class ApiClient:
    """Talks to one serving API; every call raises ``ApiDown`` or ``ApiProblem`` and nothing else."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        # Proxy variables must not catch calls that go next door.
        self._session.trust_env = False
        # A kept connection that the server closes at the moment of the next call would look like an outage.
        self._session.headers["Connection"] = "close"

    def schema(self) -> Schema:
        response = self._call("GET", "/openapi.json", read_seconds=STATUS_SECONDS)
        try:
            return parse_schema(response.json())
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
            raise self._not_boucle() from error

    def loop(self) -> Loop:
        return self._parse(Loop, self._call("GET", "/retrain", read_seconds=STATUS_SECONDS))

    def models(self) -> Models:
        return self._parse(Models, self._call("GET", "/models", read_seconds=STATUS_SECONDS))

    def predict(self, datum: Datum) -> Prediction:
        return self._parse(Prediction, self._call("POST", "/predict", body=json.dumps(datum).encode()))

    def explain(self, prediction_id: str) -> Explanation:
        """Why that prediction came out as it did, by the version that made it."""
        body = json.dumps({"prediction_id": prediction_id}).encode()
        return self._parse(Explanation, self._call("POST", "/explain", body=body, read_seconds=EXPLAIN_SECONDS))

    def predict_batch(self, body: bytes, content_type: str) -> Iterator[BatchAnswer]:
        """One answer per row, in the order of the rows, as soon as the API has it."""
        response = self._call("POST", "/predict/batch", body=body, content_type=content_type, stream=True)
        try:
            with response:
                for line in response.iter_lines(delimiter=b"\n"):
                    if line.strip():
                        yield _batch_line.validate_json(line)
        except requests.RequestException as error:
            raise self._down() from error
        except ValidationError as error:
            raise self._not_boucle() from error

    def send_feedback(self, prediction_id: str, target: Label) -> Feedback:
        body = json.dumps({"prediction_id": prediction_id, "target": target}).encode()
        return self._parse(Feedback, self._call("POST", "/feedback", body=body))

    def retrain(self) -> TrainingRun:
        return self._parse(TrainingRun, self._call("POST", "/retrain"))

    def model_card(self, version: str) -> str:
        response = self._call("GET", f"/models/{quote(version, safe='')}", read_seconds=STATUS_SECONDS)
        return self._parse(ModelCard, response).model_card

    def monitoring(self, columns: int) -> Monitoring:
        """The last observation whole, and of the history that many columns: those that moved farthest."""
        return self._parse(Monitoring, self._call("GET", f"/monitoring?columns={columns}"))

    def latency(self) -> Reading:
        """How long predictions took, as serving has counted so far."""
        response = self._call("GET", "/metrics", read_seconds=STATUS_SECONDS)
        return Reading(datetime.now(UTC), parse(response.text))

    def request_report(self) -> ReportRequest:
        return self._parse(ReportRequest, self._call("POST", "/reports"))

    def promote(self, version: str, *, replacing: str | None, reason: str, actor: str) -> Models:
        """Make the version champion, provided that ``replacing`` still is; refused with 409 when it is not."""
        body = json.dumps({"reason": reason, "actor": actor, "replacing": replacing}).encode()
        path = f"/models/{quote(version, safe='')}/promote"
        return self._parse(Models, self._call("POST", path, body=body, read_seconds=PROMOTE_SECONDS))

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        stream: bool = False,
        read_seconds: float = ANSWER_SECONDS,
    ) -> requests.Response:
        try:
            response = self._session.request(
                method,
                self.url + path,
                data=body,
                headers={"Content-Type": content_type} if body is not None else None,
                stream=stream,
                timeout=(CONNECT_SECONDS, read_seconds),
            )
            if not response.ok:
                raise self._problem(response)
        except requests.RequestException as error:
            raise self._down() from error
        return response

    def _problem(self, response: requests.Response) -> ApiDown | ApiProblem:
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            # A proxy in front of a stopped API answers in the API's place.
            if response.status_code in (502, 503, 504):
                return self._down()
            return ApiProblem(
                f"The API answered {response.status_code} {response.reason}.", status=response.status_code
            )
        return ApiProblem(problem.detail, problem.errors, response.status_code)

    def _parse(self, answer: type[A], response: requests.Response) -> A:
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise self._not_boucle() from error

    def _down(self) -> ApiDown:
        return ApiDown(f"The API at {self.url} does not answer.")

    def _not_boucle(self) -> ApiProblem:
        return ApiProblem(f"What answers at {self.url} is not Boucle's serving API; check SERVING_URL.")
