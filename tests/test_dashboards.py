"""Every question that a dashboard asks is answered by a real Prometheus that scraped the running stack."""

import itertools
import json
import math
import os
import re
import shutil
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime

import numpy as np
import pytest
import requests
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from boucle.demo import draw
from boucle.errors import ChampionMoved
from scripts.dashboards.__main__ import dashboards as written
from scripts.dashboards.__main__ import stale
from tests.support import ROOT, answers, free_port, process, serving, trainer, wait_for

GRAFANA = ROOT / "monitoring" / "grafana"
PROMETHEUS = ROOT / "monitoring" / "prometheus"
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
PROGRAMS = ("prometheus", "prometheus-node-exporter")  # Debian's packages bear the same names

# What may rightly find nothing here, and why. Everything else must find something.
NOTHING = {
    r"^container_|\(container_": "cAdvisor reads the containers of Docker, and there is none here",
    r"^ALERTS\{": "a table of what fires: it is empty when all is well",
}
# A zero in the place of nothing would hide a misspelt label. These are rightly nothing while all is well.
ZERO = " or vector(0)"
NOTHING_BUT_A_ZERO = {
    r'status=~"5': "no request fails",
    r"_dropped_total": "the log drops nothing",
    r'problem="(missing|new_category)"': "the demo's rows have no gaps, and no categories",
    r"_run_age_seconds": "no run waits for long, and none is stuck",
    r"alertstate=": "nothing may fire",
}


def panels(dashboard):
    """All panels but the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def questions():
    """Where it stands, the query, and whether it is asked over time; every query of every file once."""
    for file, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{file}: {panel['title']}: {target['refId']}", target["expr"], target["range"]
        for annotation in dashboard["annotations"]["list"]:
            yield f"{file}: {annotation['name']}", annotation["expr"], True


def expressions():
    return [expr for _, expr, _ in questions()]


def test_the_files_are_what_the_code_says():
    assert stale(written()) == set()


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_the_sdk_reads_a_dashboard_as_it_was_written(dashboard):
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))

    # Of an annotation's query the SDK knows nothing but `expr`.
    assert {**again, "annotations": None} == {**dashboard, "annotations": None}
    assert [one["expr"] for one in again["annotations"]["list"]] == [
        one["expr"] for one in dashboard["annotations"]["list"]
    ]


def test_each_dashboard_has_an_address_of_its_own_and_looks_like_the_others():
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 6
    for file, dashboard in DASHBOARDS.items():
        assert dashboard["uid"] == f"boucle-{file.removesuffix('.json')}"
        assert dashboard["tags"] == ["boucle"]
        assert dashboard["refresh"] == "10s"
        assert dashboard["time"] == {"from": "now-1h", "to": "now"}
        assert dashboard["editable"] is False
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_no_panel_lies_on_another_or_beyond_the_edge(dashboard):
    places = [panel["gridPos"] for panel in dashboard["panels"]]

    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_panels_side_by_side_fill_the_width_and_end_at_one_height(dashboard):
    by_line = itertools.groupby((panel["gridPos"] for panel in dashboard["panels"]), key=lambda place: place["y"])

    for _, line in by_line:
        places = list(line)
        assert sum(place["w"] for place in places) == 24
        assert len({place["h"] for place in places}) == 1


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_the_first_row_answers_within_ten_seconds(dashboard):
    first = [panel for panel in dashboard["panels"] if panel["gridPos"]["y"] == 0]

    assert [panel["type"] for panel in first] == ["stat"] * 6
    assert sum(panel["gridPos"]["w"] for panel in first) == 24


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_each_panel_says_what_it_shows_from_where_and_what_is_normal(dashboard):
    for panel in panels(dashboard):
        assert len(panel["description"]) >= 20, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        is_named = panel.get("options", {}).get("textMode") == "name"
        assert "unit" in defaults or "mappings" in defaults or is_named or panel["type"] in ("table", "heatmap"), panel


def test_every_link_leads_somewhere():
    text = json.dumps(list(DASHBOARDS.values()))
    uids = {dashboard["uid"] for dashboard in DASHBOARDS.values()}

    assert set(re.findall(r"/d/([\w-]+)", text)) <= uids
    assert [page for page in set(re.findall(r"docs/[\w/]+\.md", text)) if not (ROOT / page).exists()] == []


def test_every_metric_of_ours_in_a_dashboard_is_one_that_we_have():
    sources = [ROOT / "serving" / "metrics.py", *(ROOT / "monitoring" / "exporter").glob("*.py")]
    declared = {
        re.sub(r"\{\w+\}", r"\\w+", name)
        for path in sources
        for name in re.findall(r'"(boucle_[\w{}]+)"', path.read_text())
    }
    used = {name for expr in expressions() for name in re.findall(r"\bboucle_\w+", expr)}

    def is_declared(name):
        plain = re.sub("_(bucket|count|sum)$", "", name)
        return any(re.fullmatch(pattern, plain) or re.fullmatch(pattern, name) for pattern in declared)

    assert {name for name in used if not is_declared(name)} == set()


def test_grafana_finds_them_and_lets_nobody_in_without_a_password():
    service = yaml.safe_load((GRAFANA / "docker-compose.yml").read_text())["services"]["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "boucle.yml").read_text())["providers"][0]
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert service["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert service["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert mounted["./provisioning"] == "/etc/grafana/provisioning"
    assert mounted["./dashboards"] == provider["options"]["path"]
    assert home.removeprefix(f"{provider['options']['path']}/") in DASHBOARDS
    assert provider["allowUiUpdates"] is False


def test_grafana_knows_how_often_prometheus_scrapes():
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert source["uid"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraped


# The same questions, asked.


class Prometheus:
    """A running one, as Grafana asks it."""

    def __init__(self, url):
        self.url = url

    def ask(self, path, **parameters):
        answer = requests.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=30).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def numbers(self, expr, over_time):
        """All values of the last minute, or of now, that are numbers."""
        if over_time:
            now = time.time()
            found = self.ask("query_range", query=expr, start=now - 60, end=now, step=5)["result"]
            values = [value for series in found for _, value in series["values"]]
        else:
            values = [series["value"][1] for series in self.ask("query", query=expr)["result"]]
        return [float(value) for value in values if not math.isnan(float(value))]

    def values(self, metric, label):
        series = requests.get(f"{self.url}/api/v1/series", params={"match[]": metric}, timeout=30).json()["data"]
        return sorted({one[label] for one in series})


def configuration(targets):
    """Our own, with addresses instead of Docker's names, and in a hurry."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {
        **config["global"],
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.rules")]
    config.pop("alerting", None)
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [
        {**_without_discovery(jobs.get(name, {"job_name": name})), "static_configs": [{"targets": [address]}]}
        for name, address in targets.items()
    ]
    return yaml.safe_dump(config)


def _without_discovery(job):
    return {key: value for key, value in job.items() if not key.endswith("_sd_configs")}


@contextmanager
def program(home, name, *arguments):
    """A program that is not Python, as `process` runs those that are."""
    code = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    with process(["-c", code, name, *arguments], home.environment(), home.folder / f"{name}.log"):
        yield


@contextmanager
def traffic(url, preparation):
    """Predictions and most of their labels, a refused request now and then; after ten seconds the population shifts."""
    stopping, started = threading.Event(), time.monotonic()

    def drive():
        session, random = requests.Session(), np.random.default_rng(0)
        for number in itertools.count():
            if stopping.wait(0.01):
                return
            shift = 0.15 if time.monotonic() - started > 10 else 0.0
            [record], [label] = draw(preparation, 1, shift, random)
            answer = session.post(f"{url}/predict", json=record, timeout=30).json()
            if number % 3:
                body = {"prediction_id": answer["prediction_id"], "target": label}
                session.post(f"{url}/feedback", json=body, timeout=30)
            if number % 20 == 0:
                session.post(f"{url}/predict", json={"mean area": "large"}, timeout=30)

    driving = threading.Thread(target=drive)
    driving.start()
    try:
        yield
    finally:
        stopping.set()
        driving.join()


@pytest.fixture(scope="module")
def prometheus(shared_home):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        reason = f"not installed (Debian: apt-get install {' '.join(missing)})"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    home = shared_home
    ports = {name: free_port() for name in ("exporter", "node-exporter", "prometheus", "reporting")}
    address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    with ExitStack() as stack:
        url = stack.enter_context(serving(home, workers=2))
        stack.enter_context(trainer(home))
        more = {
            "EXPORTER_PORT": str(ports["exporter"]),
            "EXPORTER_INTERVAL_SECONDS": "1",
            "EXPORTER_PARTS": json.dumps({"reporting": f"http://{address['reporting']}/api/version"}),
            "REPORTING_PORT": str(ports["reporting"]),
            "BOUCLE_REPORTING_INTERVAL_SECONDS": "1",
        }
        for part in ("monitoring.exporter", "reporting.project"):
            stack.enter_context(process(["-m", part], home.environment(**more), home.folder / f"{part}.log"))
        listen = f"--web.listen-address={address['node-exporter']}"
        stack.enter_context(program(home, "prometheus-node-exporter", listen))
        targets = {"serving-api": url.removeprefix("http://"), **address}
        del targets["reporting"]
        file = home.folder / "prometheus.yml"
        file.write_text(configuration(targets))
        arguments = [f"--config.file={file}", f"--storage.tsdb.path={home.folder / 'tsdb'}"]
        listen = f"--web.listen-address={address['prometheus']}"
        stack.enter_context(program(home, "prometheus", *arguments, listen))
        stack.enter_context(traffic(url, home.preparation))
        wait_for(lambda: answers(f"http://{address['prometheus']}/-/ready"), f"Prometheus: {home.folder}")
        yield Prometheus(f"http://{address['prometheus']}")


def choices(prometheus, dashboard):
    """What each variable offers, by its name."""
    offered = {}
    for variable in dashboard["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
        values = prometheus.values(metric, label)
        offered[variable["name"]] = [variable["allValue"], *values] if variable.get("includeAll") else values
    return offered


def chosen(expr, offered):
    """The query as Grafana sends it, for each choice of each variable that it uses."""
    for name, value in {"__rate_interval": "20s", "__interval": "5s", "__range": "60s"}.items():
        expr = expr.replace(f"${name}", value)
    used = {name: values for name, values in offered.items() if f"${name}" in expr}
    for values in itertools.product(*used.values()):
        asked = expr
        for name, value in zip(used, values, strict=True):
            asked = asked.replace(f"${name}", value)
        yield asked


def _bare(expr):
    """The query without its zero, if it must find something."""
    return expr if any(re.search(pattern, expr) for pattern in NOTHING_BUT_A_ZERO) else expr.replace(ZERO, "")


def unanswered(prometheus):
    """Queries that must find something and do not."""
    offered = {file: choices(prometheus, dashboard) for file, dashboard in DASHBOARDS.items()}
    silent = {f"{file}: ${name}" for file, some in offered.items() for name, values in some.items() if not values}
    for where, expr, over_time in questions():
        if not any(re.search(pattern, expr) for pattern in NOTHING):
            asked = list(chosen(_bare(expr), offered[where.split(":")[0]]))[:1]
            silent |= {f"{where}: {one}" for one in asked if not prometheus.numbers(one, over_time)}
    return silent


def test_every_query_of_every_panel_annotation_and_variable_finds_something(prometheus):
    silent = {"nothing was asked yet"}
    deadline = time.monotonic() + 180

    while silent and time.monotonic() < deadline:
        silent = unanswered(prometheus)
        time.sleep(1)

    assert silent == set()


def test_a_query_that_may_find_nothing_is_right_promql(prometheus):
    excused = [expr for expr in expressions() if any(re.search(pattern, expr) for pattern in NOTHING)]

    for expr in excused:
        for asked in chosen(expr, {}):
            prometheus.numbers(asked, over_time=False)
    for pattern in NOTHING:
        assert any(re.search(pattern, expr) for expr in excused), f"nothing is excused by {pattern} any more"
    for pattern in NOTHING_BUT_A_ZERO:
        assert any(re.search(pattern, expr) and ZERO in expr for expr in expressions()), f"{pattern} excuses nothing"


@pytest.mark.parametrize("file", DASHBOARDS)
def test_every_choice_of_a_variable_makes_a_right_query(prometheus, file):
    offered = choices(prometheus, DASHBOARDS[file])

    for where, expr, over_time in questions():
        if where.startswith(f"{file}:"):
            for asked in chosen(expr, offered):
                prometheus.numbers(asked, over_time)


def test_the_shift_is_seen_by_the_queries_of_the_first_rows(prometheus):
    def value(file, title):
        panel = next(panel for panel in panels(DASHBOARDS[file]) if panel["title"] == title)
        return prometheus.numbers(panel["targets"][0]["expr"], over_time=False)

    wait_for(lambda: value("stack.json", "Data") == [1], "the drift", 120)
    assert value("stack.json", "API") == [1]
    assert value("stack.json", "Requests that failed") == [0]
    assert value("model.json", "Data") == [1]
    wait_for(lambda: value("data-quality.json", "Out of range")[0] > 0, "values out of range")
    assert value("data-quality.json", "Refused within an hour")[0] > 0
    assert value("training.json", "Failed in a row") == [0]


def test_the_queries_tell_what_the_api_tells(prometheus):
    def told():
        served = prometheus.values("boucle_http_requests_total", "instance")[0]
        return requests.get(f"http://{served}/monitoring", timeout=10).json()["latest"]

    def shown(expr):
        return prometheus.numbers(expr, over_time=False)

    def agree():
        latest = told()
        farthest = {column["column"]: column["size"] for column in latest["drift"]["columns"]}
        found = prometheus.ask("query", query="max by (column) (boucle_drift_size)")["result"]
        return (
            shown("max(boucle_drifted_columns_ratio)") == [latest["drift"]["share"]]
            and shown('max(boucle_model_quality{metric="accuracy"})') == [latest["quality"]["accuracy"]]
            and {one["metric"]["column"]: float(one["value"][1]) for one in found} == farthest
        )

    # Both move while the traffic runs; between two looks they are the same to the last digit.
    wait_for(agree, "the same numbers", 120)


def test_a_change_of_the_champion_is_marked_at_the_moment_of_the_promotion(prometheus, shared_home):
    [annotation] = DASHBOARDS["model.json"]["annotations"]["list"]
    artifacts = shared_home.artifacts
    manifest = artifacts.manifest("v1")
    contents = {name: (artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    another = artifacts.publish(manifest, contents).version

    def promote():
        with suppress(ChampionMoved):  # the trainer promotes too
            return artifacts.promote(another, artifacts.champion().version, "test", "test")

    def marks():
        """Versions and moments, as Grafana takes them from the values."""
        now = time.time()
        found = prometheus.ask("query_range", query=annotation["expr"], start=now - 60, end=now, step=5)["result"]
        return {(one["metric"]["version"], float(value) / 1000) for one in found for _, value in one["values"]}

    promotion = wait_for(promote, "the promotion")
    at = datetime.fromisoformat(promotion.promoted_at).timestamp()
    wait_for(lambda: {moment for version, moment in marks() if version == another}, "its mark")

    assert annotation["useValueForTime"] is True
    assert all(abs(moment - at) <= 2 for version, moment in marks() if version == another)
    assert len({version for version, _ in marks()}) >= 2
