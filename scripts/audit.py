"""Known vulnerabilities of what the lock installs; where no advisories are to be had, it says so."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXPORT = ["uv", "export", "--quiet", "--frozen", "--all-packages", "--all-extras", "--no-emit-workspace", "--no-hashes"]
AUDIT = ["pip-audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "--requirement"]
SECONDS = 300


def main() -> int:
    """The exit status: 1 when a vulnerability is known."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(_run(EXPORT).stdout)
        try:
            audited = _run([*AUDIT, str(requirements)])
        except subprocess.TimeoutExpired:
            print(f"NOT AUDITED: no advisories within {SECONDS} s")
            return 0
    status, lines = verdict(audited.stdout, audited.stderr)
    print(*lines, sep="\n")
    return status


def verdict(answer: str, complaint: str) -> tuple[int, list[str]]:
    """The exit status and what to say of pip-audit's JSON, or of its complaint where it came to nothing."""
    try:
        found: list[dict[str, Any]] = json.loads(answer)["dependencies"]  # pip-audit's own
    except ValueError:
        return 0, [f"NOT AUDITED: no advisories to be had ({(complaint.strip().splitlines() or ['no answer'])[-1]})"]
    known = [one for one in found if "vulns" in one]
    if not known:
        return 0, ["NOT AUDITED: the package index of this machine has no advisories"]
    vulnerable = [
        f"{one['name']} {one['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version yet'}"
        for one in known
        for hole in one["vulns"]
    ]
    return int(bool(vulnerable)), [*vulnerable, f"{len(known)} packages audited, {len(vulnerable)} vulnerabilities"]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


if __name__ == "__main__":
    sys.exit(main())
