"""What the prose says of the stack in Docker Compose is what the files say; no engine is needed."""

import json
import re

import pytest
import yaml

from tests.support import ROOT

ROOT_FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
FRAGMENTS = [ROOT / path for path in ROOT_FILE["include"]]
SERVICES = {name: body for path in FRAGMENTS for name, body in yaml.safe_load(path.read_text())["services"].items()}
EVERY_FILE = [ROOT / "docker-compose.yml", ROOT / "compose.base.yml", *FRAGMENTS]
JOBS = {"etl", "prepare"}


def published(body):
    """The port that a service publishes when nobody says otherwise."""
    ports = [re.fullmatch(r"\$\{BIND:-127\.0\.0\.1\}:\$\{\w+_PORT:-(\d+)\}:\1", port) for port in body.get("ports", [])]
    assert all(ports), body["ports"]
    return ", ".join(port[1] for port in ports)


def test_every_folder_with_a_fragment_is_in_the_table_of_contents():
    found = {path for path in ROOT.rglob("docker-compose.yml") if not {".venv", "tests"} & set(path.parts)}
    assert found == {ROOT / "docker-compose.yml", *FRAGMENTS}


def test_readme_names_every_service_with_its_port():
    section = (ROOT / "README.md").read_text().split("## With Docker Compose")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \|\s*(\d*)\s*\|", section, flags=re.MULTILINE)
    assert dict(rows) == {name: published(body) for name, body in SERVICES.items()}


def test_env_example_names_every_knob_with_its_default_and_no_other():
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    used = {
        name: default
        for path in EVERY_FILE
        for name, default in re.findall(r"(?<!\$)\$\{(\w+):-([^}]*)\}", path.read_text())
    }
    assert example == used
    assert not any("PASSWORD" in name or "SECRET" in name for name in example)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_shares_the_hardening_limits_its_memory_and_says_when_it_is_healthy(name):
    body = SERVICES[name]
    assert body["extends"]["file"].endswith("compose.base.yml")
    assert body["mem_limit"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "container_name"} & set(body)
    assert (body["healthcheck"] == {"disable": True}) == (name in JOBS)
    for needed, how in body.get("depends_on", {}).items():
        condition = "service_completed_successfully" if needed in JOBS else "service_healthy"
        assert how == {"condition": condition}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name):
    image = SERVICES[name]["image"]
    if "build" in SERVICES[name]:
        assert re.fullmatch(r"\$\{BOUCLE_IMAGES:-boucle\}/[\w-]+:\$\{BOUCLE_TAG:-local\}", image)
    else:
        version = re.fullmatch(r"[\w./-]+:\$\{\w+_VERSION:-([\w.-]+)\}", image)
        assert re.search(r"\d", version[1])
        assert version[1] != "latest"


def test_prometheus_scrapes_services_that_there_are():
    scraped = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    names = {name for job in scraped for sd in job.get("dns_sd_configs", []) for name in sd["names"]}
    assert names == {"serving-api", "exporter", "node-exporter", "cadvisor"}
    assert names < set(SERVICES)


def test_the_exporter_asks_services_that_there_are_at_the_ports_that_they_have():
    asked = json.loads(SERVICES["exporter"]["environment"]["EXPORTER_PARTS"])

    for name, url in asked.items():
        assert url.startswith(f"http://{name}:{published(SERVICES[name])}/")
    assert set(asked) == {"webapp", "reporting", "mlflow", "grafana"}


def test_no_compose_file_or_dockerfile_knows_the_stand_in_engine():
    files = [*EVERY_FILE, ROOT / ".dockerignore", *(path.parent / "Dockerfile" for path in FRAGMENTS)]
    assert not [path for path in files if path.is_file() and "docker-offline" in path.read_text()]
