#!/usr/bin/env bash
# The services of the stack, one a line, but for those that WITHOUT names.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra without <<<"${WITHOUT:-}"
docker compose config --services | grep -vxF -f <(printf '%s\n' "${without[@]}")
