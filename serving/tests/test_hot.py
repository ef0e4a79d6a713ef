"""The fast path beside the documented route: whatever it answers, the route would have answered alike."""

import json

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from boucle import scorer
from boucle.contract import Boolean, Category, Classes, Contract, Number
from boucle.errors import InvalidRecord
from boucle.scorer import Scorer
from serving import hot
from serving.api import create_app
from serving.predictor import Predictor
from serving.settings import Settings

CONTRACT = Contract(
    features=(
        Number(name="mean area", nullable=False, integer=False, minimum=0, maximum=10, median=5),
        Number(name="age", nullable=True, integer=True, minimum=18, maximum=90, median=40),
        Boolean(name="model_config", nullable=True),
        Category(name="job", nullable=True, categories=("admin.", "blue-collar", "élève")),
        Category(name="f0", nullable=False, categories=("no", "yes")),
    ),
    target=Classes(name="y", classes=("no", "yes")),
    example={"mean area": 1.0, "age": 20.0, "model_config": True, "job": "admin.", "f0": "no"},
)
NUMBERS = st.one_of(
    st.floats(), st.integers(-(10**30), 10**30), st.sampled_from([0, 10, 10.000001, 1e7, -1e7, 1e308, 2**1024])
)
TEXTS = st.one_of(st.text(max_size=3), st.sampled_from(["no", "yes", "admin.", "élève", "a\0b", "\ud800"]))
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none(), st.lists(st.integers(), max_size=1))
RIGHT = st.fixed_dictionaries(
    {
        "mean area": st.floats(-20, 20),
        "age": st.none() | st.integers(0, 120),
        "model_config": st.none() | st.booleans(),
        "job": st.none() | TEXTS,
        "f0": TEXTS,
    }
)
MAYBE_WRONG = st.dictionaries(st.sampled_from([*CONTRACT.names, "other"]), VALUES)


class Version:
    """What a predictor needs in order to read."""

    version, contract, scorer = "v1", CONTRACT, Scorer


@pytest.fixture
def handed_on(monkeypatch):
    """The requests that the fast path did not answer."""
    seen = []
    hand_on = hot.hand_on

    async def note(app, scope, *arguments):
        seen.append(scope["path"])
        await hand_on(app, scope, *arguments)

    monkeypatch.setattr(hot, "hand_on", note)
    return seen


@settings(max_examples=600, deadline=None)
@given(st.one_of(RIGHT, MAYBE_WRONG, st.builds(dict.__or__, RIGHT, MAYBE_WRONG), VALUES), st.booleans())
def test_what_the_fast_decoder_accepts_the_contract_accepts_with_equal_values_and_warnings(value, pretty):
    body = json.dumps(value, indent=2 if pretty else None).encode()
    predictor = Predictor(Version, journal=None)
    try:
        expected = CONTRACT.validate_json(body)
    except InvalidRecord:
        expected = None

    try:
        values, warnings = predictor.read_or_explain(body)
    except InvalidRecord:
        values, warnings = None, None

    assert values == (None if expected is None else tuple(expected.values()))
    assert warnings == (None if expected is None else CONTRACT.surprises(expected))
    if expected is not None and "\0" not in body.decode():
        predictor.read(body)  # and it is the fast decoder that reads what is right


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b'{"mean area": NaN}', b"\xef\xbb\xbf{}", b'{"a":1}{"a":1}'),
        *(b'{"\xff": 1}', b'{"mean area": "\xff"}', b'{"mean area":' + b"[" * 20_000, b" " * 200_000 + b"{}"),
    ],
    ids=lambda body: str(body[:20]),
)
def test_what_is_no_record_is_explained_by_the_documented_route(client, handed_on, body):
    answer = client.post("/predict", content=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert handed_on == ["/predict"]


def test_both_ways_give_the_same_answer(client, home, handed_on):
    row = home.preparation.test_records[0] | {"mean area": 1e5}

    fast = client.post("/predict", json=row)
    client.app.hot = {}
    slow = client.post("/predict", json=row)

    assert handed_on == []
    for answer in (fast, slow):
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
    different = {"prediction_id"}
    assert {k: v for k, v in fast.json().items() if k not in different} == {
        k: v for k, v in slow.json().items() if k not in different
    }
    assert fast.json()["warnings"] == ["mean area: 100000 is outside the reference range 143.5 to 2501"]


@pytest.mark.parametrize(
    ("given_id", "echoed"), [("mine-1", True), ("two words", False), ("x" * 65, False), ("é", False)]
)
def test_the_fast_path_echoes_a_harmless_request_id(client, home, handed_on, given_id, echoed):
    row = home.preparation.test_records[0]

    answer = client.post("/predict", json=row, headers={"X-Request-ID": given_id.encode()})

    assert handed_on == []
    assert (answer.headers["x-request-id"] == given_id) == echoed


def test_answers_of_the_fast_path_are_counted_and_timed(client, home):
    row = home.preparation.test_records[0]
    before = client.get("/metrics").text

    for _ in range(3):
        client.post("/predict", json=row)

    after = client.get("/metrics").text
    for name in (
        'boucle_http_requests_total{method="POST",route="/predict",status="200"}',
        'boucle_http_request_seconds_count{route="/predict"}',
        'boucle_predictions_total{model_version="v1"}',
        'boucle_prediction_seconds_count{model_version="v1"}',
    ):
        assert sample(after, name) - sample(before, name) == 3
    bucket = 'boucle_http_request_seconds_bucket{le="+Inf",route="/predict"}'
    assert sample(after, bucket) - sample(before, bucket) == 3


def sample(exposition, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in exposition.splitlines() if line.startswith(name + " "))


def test_a_version_that_needs_scikit_learn_is_served_by_the_documented_route(home, handed_on):
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    del contents[scorer.FILE]
    version = home.artifacts.publish(manifest, contents).version
    home.artifacts.promote(version, "v1", "test", "test")
    row = home.preparation.test_records[0]

    with TestClient(create_app(Settings(watch_seconds=60), home.places)) as client:
        answer = client.post("/predict", json=row)

    assert answer.json()["model_version"] == version
    assert handed_on == ["/predict"]


def test_a_body_beyond_the_limit_is_left_to_the_route_that_refuses_it(home, handed_on, monkeypatch):
    monkeypatch.setenv("BOUCLE__LIMITS__BODY_BYTES", "1000")
    row = home.preparation.test_records[0]
    with TestClient(create_app(Settings(watch_seconds=60), home.places), raise_server_exceptions=False) as client:
        allowed = client.post("/predict", content=json.dumps(row))
        refused = client.post("/predict", content=json.dumps(row) + " " * 1_000)

    assert (allowed.status_code, refused.status_code, handed_on) == (200, 413, ["/predict"])


def test_a_name_that_msgspec_refuses_is_read_by_the_contract():
    features = (Number(name='size "big"\n', nullable=False, integer=False, minimum=0, maximum=1, median=0.5),)
    contract = Contract(features=features, target=CONTRACT.target, example={})
    version = type("Odd", (Version,), {"contract": contract})

    values, warnings = Predictor(version, journal=None).read_or_explain(json.dumps({'size "big"\n': 2}).encode())

    assert values == (2.0,)
    assert len(warnings) == 1


def test_before_the_first_model_the_documented_route_says_so(tmp_path, home, handed_on):
    places = home.places.model_copy(update={"artifacts": tmp_path / "none"})
    with TestClient(create_app(Settings(watch_seconds=60), places), raise_server_exceptions=False) as client:
        answer = client.post("/predict", json=home.preparation.test_records[0])

    assert answer.status_code == 503
    assert handed_on == ["/predict"]
