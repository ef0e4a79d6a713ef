"""A small API with football results, which grows season by season: `python -m scripts.examples.football FOLDER`."""

import csv
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import typer

PAGE_ROWS = 100


class Season:
    """The results up to a season; `advance` plays the next one."""

    def __init__(self, folder: Path, seasons: int) -> None:
        self._paths = sorted(folder.glob("results_*.csv"))
        self.seasons = min(seasons, len(self._paths))
        if not self._paths:
            raise typer.BadParameter(f"{folder} holds no results_*.csv")

    def advance(self) -> None:
        self.seasons = min(self.seasons + 1, len(self._paths))

    def page(self, number: int, since: str) -> list[dict[str, Any]]:
        """The results from the day ``since`` on; pages count from 1."""
        rows = [row for path in self._paths[: self.seasons] for row in csv.DictReader(path.open(encoding="utf-8"))]
        wanted = [{name: _json(cell) for name, cell in row.items()} for row in rows if row["Date"] >= since]
        return wanted[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]


def server(season: Season, port: int) -> ThreadingHTTPServer:
    """``GET /results?page=1&since=2010-05-09``, and ``POST /season`` for the next one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = dict(parse_qsl(urlsplit(self.path).query))
            self._answer({"results": season.page(int(given.get("page", "1")), given.get("since", ""))})

        def do_POST(self) -> None:
            season.advance()
            self._answer({"seasons": season.seasons})

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main(
    folder: Annotated[Path, typer.Argument(help="Holds results_0910.csv, results_1011.csv, …")],
    seasons: Annotated[int, typer.Option(min=1, help="How many have been played.")] = 3,
    port: int = 8900,
) -> None:
    """Serve until Ctrl-C."""
    typer.echo(f"http://127.0.0.1:{port}/results; the next season: curl -X POST http://127.0.0.1:{port}/season")
    server(Season(folder, seasons), port).serve_forever()


def _json(cell: str) -> str | int:
    return int(cell) if cell.isdigit() else cell


if __name__ == "__main__":
    typer.run(main)
