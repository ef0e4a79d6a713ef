#!/usr/bin/env bash
# Run the tests, and say which lines they ran; the arguments go to pytest. The reports are written also when a test fails.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf build/coverage && mkdir -p build/coverage
status=0
coverage run -m pytest --junitxml build/tests.xml "$@" || status=$?
coverage combine --quiet
coverage xml --quiet
coverage html --quiet
# The floor is that of the whole suite.
coverage report ${1:+--fail-under=0} || status=$?
exit "$status"
