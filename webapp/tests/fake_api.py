"""An API over real HTTP that answers what a test put into it: for what no real project reaches in seconds."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from streamlit.testing.v1 import AppTest

SCORES = {"v1": 0.841, "v2": 0.872, "v3": 0.857, "v4": 0.901, "v5": 0.893}


def hour(number):
    return f"2026-11-19T{number:02}:00:00.000+00:00"


def exam(**changes):
    recipes = [("random_forest", "window", 0.861), ("random_forest", "retrain", 0.842), ("sgd", "fine_tune", 0.801)]
    challengers = [
        {
            "name": f"{algorithm}, {strategy}",
            "algorithm": algorithm,
            "strategy": strategy,
            "parameters": {},
            "score": score,
            "validation": [score - 0.03, score + 0.01, score + 0.02],
            "training": [0.95, 0.95, 0.96],
        }
        for algorithm, strategy, score in recipes
    ]
    found = {
        "metric": "balanced_accuracy",
        "rows": 250,
        "look": 2,
        "champion": "v3",
        "champion_score": 0.811,
        "challenger": "random_forest, window",
        "challenger_score": 0.861,
        "difference": 0.05,
        "lower": 0.012,
        "upper": 0.088,
        "margin": 0.0,
        "tolerance": 0.02,
        "strict": False,
        "folds": [{"first_row": 1, "last_row": 125, "champion": 0.8, "challenger": 0.85}],
        "challengers": challengers,
    }
    return found | changes


def run(number, **changes):
    finished = {
        "id": number,
        "trigger": "drift",
        "trigger_reason": "mean radius moved by 0.41 in 2 of 5 windows",
        "state": "finished",
        "verdict": "promoted",
        "requested_at": hour(12),
        "finished_at": hour(12),
        "parent_version": "v3",
        "version": "v4",
        "reason": "won by 0.05 on 250 rows",
        "metrics": {"metric": "balanced_accuracy", "champion": 0.811, "challenger": 0.861, "exam_rows": 250},
        "progress": None,
        "progress_share": None,
        "exam": exam(),
    }
    return finished | changes


def version(name, **changes):
    number = int(name[1:])
    made = {
        "version": name,
        "created_at": hour(8 + number),
        "is_champion": False,
        "algorithm": "random_forest",
        "strategy": "window",
        "metric": "balanced_accuracy",
        "metrics": {
            "exam": {"champion": 0.81, "challenger": 0.86, "exam_rows": 250},
            "held-out test rows": {"balanced_accuracy": SCORES[name]},
        },
        "parent_version": f"v{number - 1}" if number > 1 else None,
        "rows": 455 + 50 * number,
        "run_id": 8 + number,
        "verdict": "promoted",
    }
    return made | changes


def reign(name, previous, begin, until, reason="won its exam", actor="run 12"):
    return {"version": name, "previous": previous, "from": begin, "until": until, "reason": reason, "actor": actor}


class FakeApi:
    """A project with four champions, one rollback, and one challenger that was kept; a test changes what it needs."""

    def __init__(self):
        self.target = {"title": "diagnosis", "enum": ["benign", "malignant"]}
        self.datum = {
            "examples": [{"radius": 14.2, "texture": 19.1}],
            "properties": {"radius": {"type": "number"}, "texture": {"type": "number"}},
        }
        self.prediction = {"prediction": "benign", "probabilities": {"benign": 0.9, "malignant": 0.1}}
        self.explanation = {
            "model_version": "v4",
            "prediction": "benign",
            "method": "shapley",
            "scale": "probability of benign",
            "base": 0.62,
            "output": 0.9,
            "contributions": [
                {"column": "radius", "value": 14.2, "contribution": 0.35},
                {"column": "texture", "value": None, "contribution": -0.07},
            ],
            "standard_error": 0.012,
            "background": "200 of 455 reference rows",
        }
        self.receipt = {"row": 17, "retraining_requested": False, "rows_to_next_retraining": 30}
        self.loop = {"k": 50, "feedback_rows": 320, "rows_to_next_retraining": 30, "runs": [run(12)]}
        self.history = [
            reign("v4", "v2", hour(13), None, "won by 0.05 on 250 rows"),
            reign("v2", "v3", hour(12), hour(13), "v3 misses malignant cells", "ada"),
            reign("v3", "v2", hour(11), hour(12)),
            reign("v2", "v1", hour(10), hour(11)),
            reign("v1", None, hour(9), hour(10), "first training", "train"),
        ]
        self.versions = [
            version("v5", verdict="insufficient evidence"),
            *(version(name) for name in ("v4", "v3", "v2", "v1")),
        ]
        self.monitoring = {"latest": None, "history": []}
        self.metrics = ""
        self.refusal = None
        self.received = []

    @property
    def models(self):
        now = self.history[0] if self.history else None
        return {
            "champion": now["version"] if now else None,
            "previous": now["previous"] if now else None,
            "promoted_at": now["from"] if now else None,
            "reason": now["reason"] if now else "",
            "actor": now["actor"] if now else "",
            "models": [one | {"is_champion": bool(now) and one["version"] == now["version"]} for one in self.versions],
            "history": self.history,
            "champion_at": None,
        }

    def predict_numbers(self):
        observed = {"minimum": 12.5, "maximum": 755.0, "median": 210.3, "integer": False}
        self.target = {"title": "price", "type": "number", "x-observed": observed}
        self.prediction = {"prediction": 248.37215, "probabilities": {}}

    def take_over(self, name, reason, actor):
        now = "2026-11-19T14:00:00.000+00:00"
        self.history = [
            reign(name, self.history[0]["version"], now, None, reason, actor),
            self.history[0] | {"until": now},
            *self.history[1:],
        ]

    def app(self):
        app = FastAPI(openapi_url=None)

        @app.get("/openapi.json")
        def openapi():
            schemas = {"Target": self.target, "Datum": self.datum}
            return {"info": {"title": "Cells"}, "components": {"schemas": schemas}}

        @app.get("/models")
        def models():
            return self.models

        @app.get("/models/{name}")
        def model(name: str):
            return {"version": name, "model_card": f"# Cells: random forest\n\nThe card of {name}."}

        @app.post("/models/{name}/promote")
        async def promote(name: str, request: Request):
            given = await request.json()
            self.received.append(given)
            if self.refusal:
                status, detail = self.refusal
                return JSONResponse({"title": "Refused", "status": status, "detail": detail}, status)
            if given["replacing"] != self.models["champion"]:
                return JSONResponse({"title": "The champion moved", "status": 409, "detail": "the champion moved"}, 409)
            self.take_over(name, given["reason"], given["actor"])
            return self.models

        @app.get("/retrain")
        def loop():
            return self.loop

        @app.get("/monitoring")
        def monitoring():
            return self.monitoring

        @app.get("/metrics")
        def metrics():
            return PlainTextResponse(self.metrics)

        @app.post("/reports", status_code=202)
        def report():
            self.received.append("report")
            return {"requested_at": hour(14)}

        @app.post("/predict")
        def predict():
            return {"prediction_id": f"p{time.monotonic_ns()}", "model_version": "v4", "warnings": []} | self.prediction

        @app.post("/explain")
        async def explain(request: Request):
            self.received.append(await request.json())
            if self.refusal:
                status, detail = self.refusal
                return JSONResponse({"title": "Refused", "status": status, "detail": detail}, status)
            return self.explanation

        @app.post("/predict/batch")
        async def predict_batch(request: Request):
            rows = range(1, (await request.body()).count(b"\n"))
            same = {"prediction_id": "p1", "model_version": "v4"} | self.prediction
            return PlainTextResponse("".join(json.dumps(same | {"row": row}) + "\n" for row in rows))

        @app.post("/feedback", status_code=201)
        async def feedback(request: Request):
            given = await request.json()
            self.received.append(given)
            return self.receipt | {"target": given["target"]}

        return app


@contextmanager
def served(api: FakeApi, port: int = 0) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(api.app(), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def drawn(view: str, url: str) -> AppTest:
    """One page with the strip at its side, not yet run; AppTest cannot navigate to pages that are functions."""
    return AppTest.from_function(_draw, kwargs={"view": view, "url": url}, default_timeout=30)


def _draw(view, url):
    import importlib

    import streamlit as st

    from webapp import status
    from webapp.client import ApiClient

    api = ApiClient(url)
    with st.sidebar:
        status.show(api)
    importlib.import_module(f"webapp.views.{view}").show(api, api.schema())
