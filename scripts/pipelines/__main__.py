"""`python -m scripts.pipelines NAME STEP... [--from STEP]`: make the steps in order, up to the first that fails."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from scripts.pipelines.steps import Step, ended, planned, verdict, write

FOLDER = Path("build/pipelines")
LINES_KEPT = 200


def main() -> int:
    """The exit status: 0 when every step passed, 1 when one failed, 2 for a step that there is not."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pipelines")
    parser.add_argument("pipeline")
    parser.add_argument("steps", nargs="+")
    parser.add_argument("--from", dest="first", default="")
    given = parser.parse_args()
    try:
        steps = planned(given.steps, given.first)
    except ValueError as mistake:
        parser.error(str(mistake))
    signal.signal(signal.SIGTERM, _interrupt)
    steps = run(given.pipeline, steps)
    told = verdict(given.pipeline, steps)
    print(told, flush=True)
    has_failed = any(step.state != "passed" for step in steps)
    tell(given.pipeline, told, "failed" if has_failed else "ok")
    return int(has_failed)


def run(pipeline: str, steps: list[Step]) -> list[Step]:
    """The steps as they ended; after each, the files say how far it got, whatever happens next."""
    for place, step in enumerate(steps):
        print(f"── {pipeline} {place + 1}/{len(steps)}: make {step.name}", flush=True)
        steps[place] = make(step)
        write(pipeline, steps, FOLDER)
        if steps[place].state == "failed":
            break
    return steps


def make(step: Step) -> Step:
    """Make the target; everything it says is passed on, and its last lines are kept."""
    began, said = time.monotonic(), deque[str](maxlen=LINES_KEPT)
    command = ["make", "--no-print-directory", step.name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                said.append(line)
                print(line, end="", flush=True)
            status = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            said.append("interrupted\n")
            status = 130
    return ended(step, status, time.monotonic() - began, said)


def tell(pipeline: str, text: str, status: str) -> None:
    """Tell whoever is to be told; that nobody could be told is no failure of the pipeline."""
    about = {"TITLE": f"Boucle {pipeline}: {status}", "TEXT": text, "STATUS": status}
    subprocess.run(["make", "--no-print-directory", "notify"], env={**os.environ, **about}, check=False)


def _interrupt(*_: object) -> None:
    # What Jenkins sends to a build that is aborted; Ctrl-C comes as one by itself.
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
