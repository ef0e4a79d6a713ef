#!/usr/bin/env bash
# The services of the stack, one a line, but for those that WITHOUT names.
set -euo pipefail
cd "$(dirname "$0")/.."
docker compose config --services | grep -vxF -f <(tr ' ' '\n' <<<"${WITHOUT:-}")
