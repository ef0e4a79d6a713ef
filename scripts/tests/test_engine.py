import os

import pytest
from distributed import LocalCluster

from boucle.engine import Engine, Task
from boucle.errors import EngineAway
from boucle.models import Recipe
from scripts.tests.test_examination import drifting, hold


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
        yield running


def test_a_dask_cluster_gives_the_same_exam_as_this_process(cluster):
    lesson, champion = drifting()
    recipes = [
        Recipe("random_forest", {"n_estimators": 20}, 0),
        Recipe("logistic_regression", {}, 0, "window", memory=60),
        Recipe("logistic_regression", {}, 0, "fine_tune"),
    ]

    here = hold(lesson, champion, recipes)
    there = hold(lesson, champion, recipes, Engine(cluster.scheduler_address.replace("tcp://", "dask://")))

    assert there == here


def test_the_fits_run_on_the_cluster_and_not_here(cluster):
    engine = Engine(cluster.scheduler_address.replace("tcp://", "dask://"))

    processes = list(engine.results([Task(os.getpid, ())] * 4))

    assert len(processes) == 4
    assert os.getpid() not in processes


def test_a_cluster_that_is_away_is_named_with_the_remedy():
    with pytest.raises(EngineAway, match=r"127\.0\.0\.1:1: no Dask scheduler answers"):
        list(Engine("dask://127.0.0.1:1").results([Task(os.getpid, ())]))
