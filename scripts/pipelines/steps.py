"""What became of each step: told in a line, and written for people (JSON) and for CI servers (JUnit XML)."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, ElementTree, SubElement

State = Literal["passed", "failed", "not run"]

NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True)
class Step:
    """One step, and the last lines that it said."""

    name: str
    state: State = "not run"
    seconds: float = 0.0
    said: str = ""


def planned(names: Sequence[str], first: str) -> list[Step]:
    """The steps from ``first`` on, or all of them if it is empty.

    Raises:
        ValueError: when there is no such step.
    """
    if first and first not in names:
        raise ValueError(f"there is no step {first}; there are {', '.join(names)}")
    return [Step(name) for name in (names[names.index(first) :] if first else names)]


def verdict(pipeline: str, steps: Sequence[Step]) -> str:
    """In one line how it went: which step failed, and how to go on."""
    failed = next((step for step in steps if step.state == "failed"), None)
    passed = [step.name for step in steps if step.state == "passed"]
    if failed is None:
        return f"{pipeline}: all passed: {', '.join(passed)}"
    before = f"; passed before it: {', '.join(passed)}" if passed else ""
    again = f"`make {pipeline}` goes on: what is done is not done again"
    return f"{pipeline}: FAILED at {failed.name} after {failed.seconds:.0f} s{before}. Once that is mended, {again}"


def write(pipeline: str, steps: Sequence[Step], folder: Path) -> None:
    """``folder``/PIPELINE.json and .xml."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"pipeline": pipeline, "verdict": verdict(pipeline, steps), "steps": [asdict(step) for step in steps]}
    (folder / f"{pipeline}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    ElementTree(_junit(pipeline, steps)).write(folder / f"{pipeline}.xml", "utf-8", xml_declaration=True)


def ended(step: Step, status: int, seconds: float, said: Sequence[str]) -> Step:
    """The step after its process ended with ``status``."""
    return replace(step, state="failed" if status else "passed", seconds=seconds, said="".join(said))


def _junit(pipeline: str, steps: Sequence[Step]) -> Element:
    failures = sum(step.state == "failed" for step in steps)
    skipped = sum(step.state == "not run" for step in steps)
    counts = {"tests": len(steps), "failures": failures, "skipped": skipped}
    suite = Element("testsuite", {"name": pipeline, **{name: str(count) for name, count in counts.items()}})
    for step in steps:
        case = SubElement(suite, "testcase", classname=pipeline, name=step.name, time=f"{step.seconds:.3f}")
        if step.state == "failed":
            SubElement(case, "failure", message=f"make {step.name} failed").text = NOT_XML.sub("", step.said)
        elif step.state == "not run":
            SubElement(case, "skipped")
    return suite
