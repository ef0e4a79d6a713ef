"""Schemathesis over the whole OpenAPI: nothing that a client sends gives a 5xx, and the document tells the truth."""

import subprocess
import sys
from pathlib import Path

from tests.support import serving

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def test_no_request_is_answered_with_a_5xx_or_against_the_document(home):  # I1
    with serving(home, workers=1) as url:
        options = [f"--checks={CHECKS}", "--max-examples=40", "--seed=1", "--no-color"]
        fuzzing = subprocess.run(
            [SCHEMATHESIS, "run", f"{url}/openapi.json", *options],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    assert fuzzing.returncode == 0, fuzzing.stdout[-8000:]
    assert "Tested: 15" in fuzzing.stdout
