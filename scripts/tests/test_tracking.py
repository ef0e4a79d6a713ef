import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from boucle.errors import InvalidProject
from boucle.exam import Challenger, Exam, Fold
from boucle.tracking import MLflowTracker, Outbox, Record
from boucle.tracking.entries import Abandonment
from boucle.training import train
from tests.support import PROJECT, ROOT, Home, answers, free_port, process, wait_for

BEGAN = datetime(2025, 3, 1, 12, tzinfo=UTC)

WINNER = Challenger(
    name="forest, recent rows",
    algorithm="random_forest",
    strategy="recency",
    parameters={"n_estimators": 100},
    score=0.9,
    validation=(0.8, None, 0.95),
    training=(0.99, 0.98, 0.97),
)
LOSER = Challenger(name="no score", algorithm="sgd", strategy="fine-tune", parameters={}, score=None)
EXAM = Exam(
    metric="accuracy",
    rows=150,
    look=2,
    champion="v1",
    champion_score=0.8,
    challenger=WINNER.name,
    challenger_score=0.9,
    difference=0.1,
    lower=0.02,
    upper=0.18,
    margin=0.0,
    tolerance=0.02,
    strict=False,
    folds=(
        Fold(first_row=1, last_row=50, champion=0.8, challenger=0.8),
        Fold(first_row=51, last_row=100, champion=None, challenger=None),
        Fold(first_row=101, last_row=150, champion=0.8, challenger=0.95),
    ),
    challengers=(WINNER, LOSER),
)
UNKNOWN_DIFFERENCE = {"difference": None, "lower": None, "upper": None, "challenger_score": None}


def training(name="retrain 1", **more) -> Record:
    given = {
        "mlflow_run_id": None,
        "started_at": BEGAN,
        "finished_at": BEGAN + timedelta(minutes=1),
        "metric": "accuracy",
        "tags": {"verdict": "promoted", "reason": "it won"},
    }
    return Record(name=name, **{**given, **more})


class Book:
    """A tracker beside what its MLflow holds."""

    def __init__(self, home: Home, uri: str | None = None) -> None:
        self.home = home
        self.uri = uri or home.places.tracking
        self.tracker = MLflowTracker(self.uri, "Test", home.places.data, home.artifacts)
        self.outbox = home.places.data / "mlflow" / "outbox"

    @property
    def client(self):
        return mlflow.MlflowClient(self.uri)

    def runs(self, filter_string=""):
        experiment = self.client.get_experiment_by_name("Test")
        found = self.client.search_runs([experiment.experiment_id], filter_string, order_by=["start_time"])
        return {run.info.run_name: run for run in found}

    @property
    def waiting(self):
        return sorted(path.name for path in self.outbox.glob("*.json"))

    @property
    def aliases(self):
        """Our name of the version behind each alias."""
        model = self.client.get_registered_model("test")
        return {
            alias: self.client.get_model_version("test", number).tags["version"]
            for alias, number in model.aliases.items()
        }

    @property
    def registered(self):
        return [one.tags["version"] for one in self.client.search_model_versions("name = 'test'")]

    def artifacts(self, run):
        found, folders = [], [None]
        while folders:
            for file in self.client.list_artifacts(run.info.run_id, folders.pop()):
                (folders if file.is_dir else found).append(file.path)
        return sorted(found)


@pytest.fixture(scope="session")
def empty_mlflow(trained, tmp_path_factory):
    """The data folder of an MLflow that holds nothing yet: making its tables takes seconds."""
    home = Home(shutil.copytree(trained.folder, tmp_path_factory.mktemp("mlflow") / "home"))
    mlflow.MlflowClient(home.places.tracking)  # writes nothing, so the folder has to be there
    (home.places.data / "mlflow").mkdir(exist_ok=True)
    mlflow.MlflowClient(home.places.tracking).search_experiments()
    return home.places.data / "mlflow"


@pytest.fixture
def book(home, empty_mlflow):
    shutil.copytree(empty_mlflow, home.places.data / "mlflow", dirs_exist_ok=True)
    return Book(home)


@contextmanager
def server(home, port):
    """The tracking server of the Procfile, as a real process."""
    folder = home.places.data / "mlflow"
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", f"{folder}/artifacts"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    environment = home.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", PYTHONWARNINGS="ignore")
    with process(["-m", "mlflow", "server", *store, *where], environment, home.folder / "mlflow.log"):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), f"mlflow: {home.folder / 'mlflow.log'}", 120)
        yield


def publish_again(home):
    """A new version with the content of v1; the champion stays."""
    manifest = home.artifacts.manifest("v1")
    contents = {name: (home.artifacts.root / "v1" / name).read_bytes() for name in manifest.files}
    return home.artifacts.publish(manifest.model_copy(update={"created_at": datetime.now(UTC).isoformat()}), contents)


def test_a_training_is_one_run_with_its_figures_tags_curves_tables_and_plots(book):
    run_id = book.tracker.start("retrain 1")

    book.tracker.record(
        training(mlflow_run_id=run_id, exam=EXAM, parameters={"k": 50}, metrics={"f1": 0.7, "undefined": None})
    )

    (run,) = [run for run in book.runs().values() if run.info.run_id == run_id]
    assert (run.info.status, run.data.params) == ("FINISHED", {"k": "50"})
    assert run.data.metrics["f1"] == 0.7
    assert run.data.metrics["exam.lower"] == 0.02
    assert "undefined" not in run.data.metrics
    assert (run.data.tags["verdict"], run.data.tags["reason"]) == ("promoted", "it won")
    curve = book.client.get_metric_history(run_id, "validation_accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.8), (3, 0.95)]
    assert book.artifacts(run) == [
        f"exam/{name}" for name in ("challengers.csv", "comparison.png", "exam.json", "folds.csv", "folds.png")
    ]
    assert book.waiting == []


def test_each_challenger_is_a_child_of_the_training(book):
    book.tracker.record(training(exam=EXAM))

    parent = book.runs()["retrain 1"]
    children = book.runs(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert set(children) == {WINNER.name, LOSER.name}
    won = children[WINNER.name]
    assert won.data.params == {"algorithm": "random_forest", "strategy": "recency", "n_estimators": "100"}
    assert won.data.metrics["accuracy"] == 0.9
    fitted = book.client.get_metric_history(won.info.run_id, "training_accuracy")
    assert [(point.step, point.value) for point in fitted] == [(1, 0.99), (2, 0.98), (3, 0.97)]
    assert children[LOSER.name].data.metrics == {}


@pytest.mark.parametrize(
    "exam",
    [
        EXAM.model_copy(update=UNKNOWN_DIFFERENCE | {"challengers": (LOSER,), "challenger": LOSER.name}),
        EXAM.model_copy(update={"folds": (), "champion_score": None, "challengers": ()}),
        EXAM.model_copy(update={"lower": None, "upper": None, "tolerance": 0.0, "difference": 0.0}),
    ],
    ids=["no score", "nothing compared", "no bounds"],
)
def test_an_exam_that_found_little_is_recorded_all_the_same(book, exam):
    book.tracker.record(training(exam=exam))

    run = book.runs()["retrain 1"]
    assert "exam/exam.json" in book.artifacts(run)
    assert run.data.tags["boucle.recorded"]
    assert [path.name for path in book.outbox.iterdir()] == [".lock"]


def test_the_run_knows_the_commit_of_the_code_that_made_it(book, monkeypatch):
    monkeypatch.setenv("BOUCLE_GIT_COMMIT", "abc123")

    book.tracker.record(training())

    assert book.runs()["retrain 1"].data.tags["mlflow.source.git.commit"] == "abc123"


def test_a_champion_is_registered_and_the_former_one_becomes_previous(book):
    publish_again(book.home)

    book.tracker.record(training("train", version="v1", alias="champion", challengers=(WINNER,), winner=WINNER.name))
    book.tracker.record(training(version="v2", alias="champion", exam=EXAM))

    assert book.aliases == {"champion": "v2", "previous": "v1"}
    tags = book.client.get_model_version_by_alias("test", "champion").tags
    assert {name: tags[name] for name in ("version", "verdict", "strategy", "algorithm")} == {
        "version": "v2",
        "verdict": "promoted",
        "strategy": "recency",
        "algorithm": "logistic_regression",
    }


def test_a_challenger_that_is_promoted_later_is_registered_once_and_is_challenger_no_more(book):
    publish_again(book.home)
    book.tracker.record(training("train", version="v1", alias="champion"))
    book.tracker.record(training("retrain 1", version="v2", alias="challenger"))
    assert book.aliases == {"champion": "v1", "challenger": "v2"}

    book.tracker.record(training("retrain 2", version="v2", alias="champion"))

    assert book.aliases == {"champion": "v2", "previous": "v1"}
    assert sorted(book.registered) == ["v1", "v2"]


def test_a_promotion_by_hand_moves_the_aliases(book):
    publish_again(book.home)
    book.tracker.record(training("train", version="v1", alias="champion"))
    book.tracker.record(training(version="v2", alias="champion"))

    book.tracker.point("v1", "v2", reason="v2 is slow", actor="Ada")

    assert book.aliases == {"champion": "v1", "previous": "v2"}
    tags = book.client.get_model_version_by_alias("test", "champion").tags
    assert (tags["pointed_because"], tags["pointed_by"]) == ("v2 is slow", "Ada")


def test_a_champion_that_mlflow_never_saw_leaves_the_alias_to_nobody(book):
    book.tracker.record(training("train", version="v1", alias="champion"))

    book.tracker.point("v9", "v1", reason="by hand", actor="Ada")

    assert book.aliases == {"previous": "v1"}
    assert book.waiting == []


MIXED = """
[project]
name = "Test"

[data]
source = "{source}"
target = "bought"

[training]
candidates = ["{algorithm}"]
folds = 2
"""


def mixed_table():
    """Numbers and categories with gaps, and a boolean."""
    rows = range(120)
    return pd.DataFrame(
        {
            "plan": [["basic", "pro", None][row % 3] for row in rows],
            "age": [None if row % 7 == 0 else 20 + row % 40 for row in rows],
            "member": [row % 5 < 2 for row in rows],
            "city": [["Rome", "Oslo", "Lima"][row * row % 3] for row in rows],
            "bought": [["no", "yes", "later"][(row % 3 + row % 5) % 3] for row in rows],
        }
    )


@pytest.mark.parametrize("algorithm", ["logistic_regression", "random_forest", "hist_gradient_boosting", "sgd", "mlp"])
def test_a_registered_model_answers_raw_records_with_the_labels_that_serving_gives(tmp_path, empty_mlflow, algorithm):
    mixed_table().to_parquet(tmp_path / "mixed.parquet")
    home = Home(tmp_path / "home").write(MIXED.format(source=tmp_path / "mixed.parquet", algorithm=algorithm))
    home.train()
    shutil.copytree(empty_mlflow, home.places.data / "mlflow", dirs_exist_ok=True)
    Book(home).tracker.record(training("train", version="v1", alias="champion"))

    loaded = mlflow.pyfunc.load_model("models:/test@champion")

    version, table = home.artifacts.load("v1"), mixed_table().drop(columns="bought")
    unseen = {"plan": "gold", "age": 99.0, "member": True, "city": "Pisa"}
    records = [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in table.to_dict("records")
    ]
    expected = [version.predict(record) for record in [*records, unseen]]
    assert list(loaded.predict(pd.DataFrame([*records, unseen]))) == expected
    assert len(set(expected)) > 1
    assert loaded.metadata.get_input_schema().input_names() == list(version.contract.names)
    assert loaded.input_example is not None


def test_while_the_server_is_down_records_wait_and_are_written_in_order_when_it_is_back(home, empty_mlflow, caplog):
    shutil.copytree(empty_mlflow, home.places.data / "mlflow", dirs_exist_ok=True)
    publish_again(home)
    port = free_port()
    book = Book(home, f"http://127.0.0.1:{port}")
    with server(home, port):
        book.tracker.record(training("train", version="v1", alias="champion"))
        begun = book.tracker.start("retrain 1")

    assert book.tracker.start("retrain 2") is None
    book.tracker.record(training("retrain 1", mlflow_run_id=begun, version="v2", alias="champion", exam=EXAM))
    book.tracker.record(training("retrain 2", started_at=BEGAN + timedelta(seconds=1)))
    book.tracker.point("v1", "v2", reason="by hand", actor="Ada")
    assert len(book.waiting) == 3
    assert len([record for record in caplog.records if "does not answer" in record.message]) == 1

    with server(home, port):
        book.tracker.drain()

        assert book.waiting == []
        assert book.aliases == {"champion": "v1", "previous": "v2"}
        assert book.runs()["retrain 1"].info.run_id == begun
        assert book.runs()["retrain 2"].info.start_time == (BEGAN + timedelta(seconds=1)).timestamp() * 1000


class Died(BaseException):
    """What a kill is to a process: nothing handles it."""


@pytest.mark.parametrize(
    "last",
    [
        "create_run",
        "log_batch",
        "log_artifacts",
        "get_registered_model",
        "create_model_version",
        "set_registered_model_alias",
        "set_tag",
    ],
)
def test_a_record_whose_writer_is_killed_is_written_once(book, monkeypatch, last):
    publish_again(book.home)
    book.tracker.record(training("train", version="v1", alias="champion"))
    real = getattr(mlflow.MlflowClient, last)

    def die_after(*arguments, **more):
        real(*arguments, **more)
        raise Died

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(mlflow.MlflowClient, last, die_after)
        book.tracker.record(training(version="v2", alias="champion", exam=EXAM))
    assert len(book.waiting) == 1

    Book(book.home).tracker.drain()

    assert book.waiting == []
    experiment = book.client.get_experiment_by_name("Test").experiment_id
    names = [run.info.run_name for run in book.client.search_runs([experiment])]
    assert sorted(names) == sorted(["train", "retrain 1", WINNER.name, LOSER.name])
    assert sorted(book.registered) == ["v1", "v2"]
    assert book.aliases == {"champion": "v2", "previous": "v1"}
    assert sorted(model.name for model in book.client.search_logged_models([experiment])) == ["v1", "v2"]
    history = book.client.get_metric_history(book.runs()["retrain 1"].info.run_id, "training_accuracy")
    assert [point.step for point in history] == [1, 2, 3]


@pytest.mark.parametrize("how", ["pruned", "damaged"])
def test_a_version_that_is_gone_is_recorded_without_its_model(book, caplog, how):
    publish_again(book.home)
    book.tracker.record(training("train", version="v1", alias="champion"))
    folder = book.home.artifacts.root / "v2"
    shutil.rmtree(folder) if how == "pruned" else (folder / "model.pkl").write_bytes(b"")

    book.tracker.record(training(version="v2", alias="champion"))

    assert book.waiting == []
    assert "v2 is recorded in mlflow without its model" in caplog.text
    assert book.runs()["retrain 1"].data.tags["model"].startswith("not recorded")
    assert book.aliases == {}


def test_what_mlflow_refuses_is_set_aside_and_does_not_hold_up_what_follows(book, caplog):
    Outbox(book.outbox).put(training("bad", metrics={"no $ in a name": 1.0}))
    (book.outbox / "0-unreadable.json").write_text("{")

    book.tracker.record(training("good"))

    assert book.runs()["good"].info.status == "FINISHED"
    assert book.waiting == []
    assert len(list(book.outbox.glob("*.refused"))) == 2
    assert "refuses an entry" in caplog.text


def test_a_run_that_mlflow_forgot_is_recorded_anew_with_the_time_it_really_began(book):
    gone = book.tracker.start("retrain 1")
    book.client.delete_run(gone)

    book.tracker.record(training(mlflow_run_id=gone))

    run = book.runs()["retrain 1"]
    assert run.info.run_id != gone
    assert run.info.start_time == BEGAN.timestamp() * 1000


def test_an_experiment_that_was_deleted_is_restored(book):
    book.tracker.record(training("train"))
    book.client.delete_experiment(book.client.get_experiment_by_name("Test").experiment_id)

    book.tracker.record(training("retrain 1"))

    assert set(book.runs()) == {"train", "retrain 1"}


def test_a_run_whose_trainer_died_is_ended_and_one_that_finished_stays_finished(book):
    died, finished = book.tracker.start("died"), book.tracker.start("finished")
    book.tracker.record(training("finished", mlflow_run_id=finished))

    for run_id in (died, finished, "0" * 32):
        book.tracker.abandon(run_id)

    assert {name: run.info.status for name, run in book.runs().items()} == {"died": "KILLED", "finished": "FINISHED"}
    assert book.waiting == []


def test_a_training_that_the_algorithm_refuses_leaves_no_run_behind_that_seems_to_go_on(book):
    book.home.write(PROJECT + "[training.parameters.logistic_regression]\nC = -1\n")

    with pytest.raises(InvalidProject, match=r"training\.parameters\.logistic_regression"):
        train(book.home.project, book.home.preparation, book.home.artifacts, book.tracker, lambda _: None, actor="test")

    assert [run.info.status for run in book.runs().values()] == ["KILLED"]


def test_of_too_many_waiting_entries_the_oldest_are_dropped(tmp_path, caplog):
    outbox = Outbox(tmp_path, most=3)

    for number in range(5):
        outbox.put(Abandonment(mlflow_run_id=str(number)))

    kept = []
    outbox.drain(lambda name, entry: kept.append(entry.mlflow_run_id))
    assert kept == ["2", "3", "4"]
    assert caplog.text.count("the oldest is dropped") == 2


def test_two_processes_do_not_drain_at_once(tmp_path):
    outbox, seen = Outbox(tmp_path), []
    outbox.put(Abandonment(mlflow_run_id="1"))

    outbox.drain(lambda name, entry: seen.append(Outbox(tmp_path).drain(lambda *_: pytest.fail("written twice"))))

    assert seen == [0]


def test_keeping_an_entry_for_later_costs_no_import_of_mlflow(tmp_path):
    code = """
import sys
from pathlib import Path
from boucle.tracking import Outbox
from boucle.tracking.entries import Pointing
Outbox(Path(sys.argv[1])).put(Pointing(champion="v1", previous=None, reason="", actor=""))
assert not {"mlflow", "matplotlib", "skops"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)

    assert len(Outbox(tmp_path).waiting()) == 1


def test_mlflow_run_trains_and_the_run_that_it_began_holds_the_record(book):
    shutil.copy(ROOT / "MLproject", book.home.folder)
    command = ["-m", "mlflow", "run", str(book.home.folder), "--env-manager", "local", "--experiment-name", "Test"]
    environment = book.home.environment(MLFLOW_TRACKING_URI=book.uri, GIT_PYTHON_REFRESH="quiet")
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    subprocess.run([sys.executable, *command], cwd=book.home.folder, env=environment, check=True)

    runs = book.runs()
    assert set(runs) == {"train", "logistic regression, scratch"}
    assert runs["train"].info.status == "FINISHED"
    assert book.aliases == {"champion": "v2"}
