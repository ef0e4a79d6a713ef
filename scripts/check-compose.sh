#!/usr/bin/env bash
# Lint Dockerfiles, shell scripts and Compose files; and, where Docker Compose is there, validate the stack under every
# combination of profiles, and each folder alone.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t dockerfiles < <(git ls-files -co --exclude-standard '*Dockerfile')
hadolint "${dockerfiles[@]}"
shellcheck scripts/*.sh monitoring/*/*.sh .ci/run
if command -v promtool >/dev/null && command -v amtool >/dev/null; then
  promtool check config monitoring/prometheus/{prometheus,laptop}.yml
  promtool test rules monitoring/prometheus/tests/*.yml
  configuration=$(mktemp -d)
  trap 'rm -r "$configuration"' EXIT
  ALERTMANAGER_CONFIG=$configuration monitoring/alertmanager/start.sh amtool check-config "$configuration/alertmanager.yml"
else
  echo "no promtool and amtool: monitoring/ not validated"
fi
if command -v npx >/dev/null; then
  npx --yes dclint@3.1.0 . --recursive --config .dclintrc.yaml --max-warnings 0
else
  echo "no npx: Compose files not linted by dclint"
fi
if ! docker compose version >/dev/null 2>&1; then
  echo "no Docker Compose: docker-compose.yml not validated"
  exit
fi

mapfile -t profiles < <(docker compose config --profiles)
combinations=$((1 << ${#profiles[@]}))
for ((chosen = 0; chosen < combinations; chosen++)); do
  arguments=()
  for index in "${!profiles[@]}"; do
    (((chosen >> index) & 1)) && arguments+=(--profile "${profiles[index]}")
  done
  docker compose "${arguments[@]}" config --quiet
done
mapfile -t fragments < <(git ls-files -co --exclude-standard '*/docker-compose.yml')
for fragment in "${fragments[@]}"; do
  docker compose --file "$fragment" config --quiet
done
echo "Compose: ${#dockerfiles[@]} Dockerfiles, $combinations combinations of profiles, ${#fragments[@]} folders alone are valid"
