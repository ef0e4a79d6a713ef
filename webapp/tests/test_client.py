"""The client against a real HTTP server on this machine: whatever happens there, a page meets only two exceptions."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from webapp import client
from webapp.answers import BatchPrediction, BatchProblem
from webapp.client import ApiClient, ApiDown, ApiProblem

PREDICTION = {
    "prediction_id": "p1",
    "prediction": True,
    "probabilities": {"true": 0.9, "false": 0.1},
    "model_version": "v1",
}
OPENAPI = {
    "info": {"title": "Churn"},
    "components": {
        "schemas": {
            "Target": {"title": "churned", "enum": [False, True]},
            "Datum": {
                "examples": [{"tenure": 3, "plan": None, "senior": True}],
                "properties": {
                    "tenure": {"type": "number", "description": "seen 0 to 72", "x-observed": {"integer": True}},
                    "plan": {"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["A", "B"]},
                    "senior": {"type": "boolean"},
                },
            },
        }
    },
}


class FakeApi:
    """Answers every call with the same status, type and chunks; notes what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.content_type = "application/json"
        self.chunks: list[bytes] = []
        self.breaks_off = False
        self.answers_at_all = threading.Event()
        self.answers_at_all.set()
        self.received: list[bytes] = []

    def answer(self, body: object, status: int = 200, content_type: str = "application/json") -> None:
        self.status, self.content_type, self.chunks = status, content_type, [json.dumps(body).encode()]


@contextmanager
def served(api: FakeApi) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            api.received.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            api.answers_at_all.wait(5)
            self.send_response(api.status)
            self.send_header("Content-Type", api.content_type)
            self.send_header("Transfer-Encoding", "chunked")
            # As servers do that are asked for it; without, the client may take the connection again before it is gone.
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in api.chunks:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if not api.breaks_off:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        api.answers_at_all.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def calls(api: FakeApi) -> Iterator[ApiClient]:
    with served(api) as url:
        yield ApiClient(url)


def test_a_prediction_keeps_the_json_type_of_its_label(api: FakeApi, calls: ApiClient) -> None:
    api.answer(PREDICTION)

    prediction = calls.predict({"tenure": 3})

    assert prediction.prediction is True
    assert prediction.confidence == 0.9
    assert json.loads(api.received[0]) == {"tenure": 3}


@pytest.mark.parametrize("target", [True, 1, "1"])
def test_feedback_sends_the_label_in_its_json_type(api: FakeApi, calls: ApiClient, target: bool | int | str) -> None:
    api.answer({"row": 17, "target": target, "rows_to_next_retraining": 33})

    feedback = calls.send_feedback("p1", target)

    assert json.dumps(json.loads(api.received[0])["target"]) == json.dumps(target)
    assert type(feedback.target) is type(target)
    assert (feedback.row, feedback.rows_to_next_retraining) == (17, 33)


def test_the_schema_tells_numbers_categories_booleans_and_what_may_be_missing(api: FakeApi, calls: ApiClient) -> None:
    api.answer(OPENAPI)

    schema = calls.schema()

    tenure, plan, senior = schema.fields
    assert (tenure.kind, tenure.integer, tenure.nullable) == ("number", True, False)
    assert (plan.kind, plan.choices, plan.nullable) == ("category", ("A", "B"), True)
    assert senior.kind == "boolean"
    assert (schema.project, schema.target, schema.labels) == ("Churn", "churned", (False, True))


@pytest.mark.parametrize(("cell", "label"), [("True", True), ("0", False), (True, True), ("maybe", None), ("", None)])
def test_a_cell_of_a_file_is_read_as_the_label_it_spells(
    api: FakeApi, calls: ApiClient, cell: object, label: bool | None
) -> None:
    api.answer(OPENAPI)

    assert calls.schema().label(cell) is label


def test_a_problem_carries_its_sentence_and_the_fields_at_fault(api: FakeApi, calls: ApiClient) -> None:
    errors = [{"field": "tenure", "value": "abc", "message": "must be a number"}]
    problem = {"status": 422, "detail": "One value is not valid.", "errors": errors}
    api.answer(problem, status=422, content_type="application/problem+json")

    with pytest.raises(ApiProblem, match="One value is not valid") as raised:
        calls.predict({"tenure": "abc"})

    assert raised.value.status == 422
    assert [str(error) for error in raised.value.errors] == ["tenure: must be a number (given: abc)"]


def test_a_batch_is_read_line_by_line_whatever_the_chunks_with_good_and_bad_rows(
    api: FakeApi, calls: ApiClient
) -> None:
    lines = (
        json.dumps({**PREDICTION, "row": 1}) + "\n" + json.dumps({"row": 2, "error": {"detail": "no number"}}) + "\n"
    )
    api.chunks = [lines[:30].encode(), lines[30:-9].encode(), lines[-9:].encode()]

    good, bad = calls.predict_batch(b"a\n1\nx\n", "text/csv")

    assert isinstance(good, BatchPrediction) and good.row == 1
    assert isinstance(bad, BatchProblem) and str(bad.error) == "no number"
    assert api.received == [b"a\n1\nx\n"]


def test_a_batch_that_breaks_off_says_that_the_api_is_down(api: FakeApi, calls: ApiClient) -> None:
    api.chunks, api.breaks_off = [json.dumps({**PREDICTION, "row": 1}).encode() + b"\n"], True

    answers = calls.predict_batch(b"a\n1\n2\n", "text/csv")

    assert next(answers).row == 1
    with pytest.raises(ApiDown):
        next(answers)


def test_nobody_at_the_address_is_an_outage_that_names_the_address() -> None:
    with served(FakeApi()) as url:
        pass

    with pytest.raises(ApiDown, match=url):
        ApiClient(url).loop()


def test_an_api_that_accepts_and_stays_silent_is_an_outage(
    api: FakeApi, calls: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "STATUS_SECONDS", 0.2)
    api.answers_at_all.clear()

    with pytest.raises(ApiDown):
        calls.models()


def test_a_proxy_in_front_of_a_stopped_api_is_an_outage(api: FakeApi, calls: ApiClient) -> None:
    api.status, api.content_type, api.chunks = 502, "text/html", [b"<h1>Bad Gateway</h1>"]

    with pytest.raises(ApiDown):
        calls.loop()


@pytest.mark.parametrize("body", [b"<html>another program</html>", b'{"k": "many"}', b"[]"])
def test_another_program_at_the_address_is_named_as_such(api: FakeApi, calls: ApiClient, body: bytes) -> None:
    api.chunks = [body]

    with pytest.raises(ApiProblem, match="SERVING_URL"):
        calls.loop()
    with pytest.raises(ApiProblem, match="SERVING_URL"):
        calls.schema()
