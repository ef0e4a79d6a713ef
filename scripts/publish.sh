#!/usr/bin/env bash
# Build every image of this commit, tag it with the commit, push it: REGISTRY=registry.example.org/team scripts/publish.sh
set -euo pipefail
cd "$(dirname "$0")/.."

: "${REGISTRY:?say where to: make publish REGISTRY=registry.example.org/team}"
if [[ -n $(git status --porcelain) ]]; then
  echo "there are uncommitted changes: an image that bears a commit's name must be that commit" >&2
  exit 1
fi
scripts/secrets.sh
export BOUCLE_IMAGES=$REGISTRY
BOUCLE_TAG=$(git rev-parse --short=12 HEAD)
export BOUCLE_TAG
docker compose build
docker compose config --images | grep ":$BOUCLE_TAG\$" | sort -u | xargs -n 1 docker push
echo "deploy it with: make deploy REGISTRY=$REGISTRY TAG=$BOUCLE_TAG"
