"""Where fits run: this process, or the workers of a Dask cluster. The results are the same."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import joblib

from boucle.errors import EngineAway

CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Task:
    """A call that may be made elsewhere."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Engine:
    """``address`` is empty for this process, or ``dask://host:port`` of a scheduler."""

    address: str = ""

    def results(self, tasks: Iterable[Task]) -> Iterator[Any]:
        """The calls' results in order, each as soon as those before it are there; tasks are made as they are needed.

        Raises:
            EngineAway: when no scheduler answers at the address.
        """
        if not self.address:
            yield from (task.function(*task.arguments) for task in tasks)
            return
        # Here and not above: only those who have a cluster have its client.
        from distributed import Client

        try:
            client = Client(self.address.replace("dask://", "tcp://", 1), timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
        except OSError as error:
            raise EngineAway(
                f"training.engine = {self.address}: no Dask scheduler answers there; start it, or set it to ''"
            ) from error
        with client, joblib.parallel_config(backend="dask"):
            calls = (joblib.delayed(task.function)(*task.arguments) for task in tasks)
            yield from joblib.Parallel(return_as="generator")(calls)
