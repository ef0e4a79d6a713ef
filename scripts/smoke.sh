#!/usr/bin/env bash
# One real prediction inside the stack's network; nothing but Docker is needed for it.
set -euo pipefail
cd "$(dirname "$0")/.."
docker compose exec -T serving-api python - http://serving-api:8080 <scripts/smoke.py
