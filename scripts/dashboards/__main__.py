"""Write the dashboards; with --check, only say which of the files are not what the code says."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from scripts.dashboards import data_quality, host, model, service, stack, training

FOLDER = Path("monitoring/grafana/dashboards")
PARTS = (stack, service, model, training, data_quality, host)


def dashboards() -> dict[str, str]:
    """Name and content of each file."""
    # Through JSON twice: the first time the SDK's objects become plain values, whose keys can then be sorted.
    built = [json.loads(JSONEncoder().encode(part.dashboard().build())) for part in PARTS]
    return {
        f"{one['uid'].removeprefix('boucle-')}.json": json.dumps(one, indent=1, sort_keys=True, ensure_ascii=False)
        + "\n"
        for one in built
    }


def stale(wanted: dict[str, str]) -> set[str]:
    """Names of files that are missing, too many, or not as wanted."""
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return {name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)}


def main() -> None:
    """Write what is stale, or refuse."""
    wanted = dashboards()
    wrong = stale(wanted)
    if "--check" in sys.argv[1:]:
        if wrong:
            sys.exit(f"{FOLDER} is not what scripts/dashboards says: make dashboards ({', '.join(sorted(wrong))})")
        return
    for name in wrong:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name])
        else:
            (FOLDER / name).unlink()


if __name__ == "__main__":
    main()
