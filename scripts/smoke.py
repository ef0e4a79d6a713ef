"""One real prediction through the API, by nothing but the standard library: `python3 scripts/smoke.py URL`."""

import json
import sys
from urllib.request import Request, urlopen


def main(url: str) -> None:
    """Send the example of the API's own documentation, and print who answered what."""
    with urlopen(f"{url}/openapi.json", timeout=10) as answer:  # noqa: S310  # our own stack
        body = json.load(answer)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    example = body.get("example") or next(iter(body["examples"].values()))["value"]
    request = Request(f"{url}/predict", json.dumps(example).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        given = json.load(answer)
    print(f"{given['model_version']} predicts {given['prediction']}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
