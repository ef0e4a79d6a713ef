#!/usr/bin/env bash
# Build the stack, start it, return when a prediction works, and say where to look.
# WITHOUT="grafana" leaves services out by name.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/secrets.sh
# What `make deploy` remembered; from here on the images of this folder serve again.
sed -i.bak '/^BOUCLE_IMAGES=/d; /^BOUCLE_TAG=/d' .env && rm .env.bak
scripts/services.sh | xargs docker compose up --detach --wait --build
scripts/smoke.sh

echo
for part in webapp:8081 serving-api:8080 reporting:8082 mlflow:5000 grafana:3000 prometheus:9090 alertmanager:9093; do
  address=$(docker compose port "${part%:*}" "${part#*:}" 2>/dev/null) || continue
  printf '  %-12s http://%s\n' "${part%:*}" "${address/#127.0.0.1/localhost}"
done
