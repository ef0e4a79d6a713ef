"""`make run` as a newcomer meets it: the real processes, from the first line to Ctrl-C."""

import os
import re
import signal
import subprocess
import time

import psutil
import pytest
import requests

from tests.support import PROJECT, ROOT, Home, free_port, wait_for

PARTS = ("SERVING", "WEBAPP", "REPORTING", "MLFLOW")


@pytest.fixture
def environment(tmp_path):
    home = Home(tmp_path / "home").write(PROJECT)
    ports = {f"{part}_PORT": str(free_port()) for part in PARTS}
    return home.environment(**ports)


def start(environment, log):
    return subprocess.Popen(
        ["make", "run"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def urls(log):
    said = log.read_text()
    return re.findall(r"ready\.1 .*(http://\S+)", said) if "Boucle runs" in said else None


def descendants(process):
    return psutil.Process(process.pid).children(recursive=True)


def interrupt(process):
    """As a terminal does at Ctrl-C; returns the seconds until everything has stopped."""
    everything, started = descendants(process), time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    _, alive = psutil.wait_procs(everything, timeout=10)
    assert alive == []
    return time.monotonic() - started


def test_one_command_starts_the_stack_and_ctrl_c_stops_all_of_it(environment, tmp_path):
    first, second, third = (tmp_path / f"{number}.log" for number in (1, 2, 3))
    running = start(environment, first)
    try:
        addresses = wait_for(lambda: urls(first), f"the URLs: {first}", 180)
        assert [requests.get(address, timeout=10).status_code for address in addresses] == [200] * 5
        assert "v1 is the champion" in first.read_text()

        refused = start(environment, second)
        assert refused.wait(60) != 0
        for part in PARTS:
            assert f"port {environment[f'{part}_PORT']} ({part.lower()}) is in use" in second.read_text()
        assert "system" not in second.read_text()  # nothing was started
    finally:
        stopped_within = interrupt(running)
    assert stopped_within < 15

    again = start(environment, third)
    try:
        wait_for(lambda: urls(third), f"the URLs: {third}", 120)
        assert third.read_text().count("nothing changed") == 2  # neither prepared nor trained
    finally:
        interrupt(again)
