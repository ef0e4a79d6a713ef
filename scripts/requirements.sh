#!/usr/bin/env bash
# Write each image's requirements.txt from uv.lock; with --check, only say which are stale.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
  [serving]="--package serving"
  [webapp]="--package webapp"
  [reporting]="--package reporting"
  [mlflow]="--package mlflow-server"
  [scripts]="--package boucle --extra tracking --extra dask --extra diagnosis --extra etl"
  [monitoring/exporter]="--package exporter"
)
stale=0
for folder in "${!packages[@]}"; do
  read -ra package <<<"${packages[$folder]}"
  wanted=$(uv export --quiet --frozen --no-dev --no-emit-workspace --no-header --no-annotate --no-hashes "${package[@]}")
  if [[ ${1:-} != --check ]]; then
    printf '%s\n' "$wanted" >"$folder/requirements.txt"
  elif [[ $wanted != "$(cat "$folder/requirements.txt")" ]]; then
    echo "$folder/requirements.txt is not what uv.lock says: make requirements" >&2
    stale=1
  fi
done
exit "$stale"
