#!/usr/bin/env bash
# Put other images into service; if they do not become healthy, or no prediction works, go back to those that ran before.
#   scripts/deploy.sh                               builds what is in this folder, tagged with the commit
#   TAG=1a2b3c4d5e6f scripts/deploy.sh              takes images that this machine has
#   REGISTRY=… TAG=1a2b3c4d5e6f scripts/deploy.sh   pulls them
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/secrets.sh
images=${REGISTRY:-${BOUCLE_IMAGES:-boucle}}
tag=${TAG:-$(git describe --always --dirty --abbrev=12 --exclude '*')}
new() { BOUCLE_IMAGES=$images BOUCLE_TAG=$tag "$@"; }
names() { new docker compose config --images | grep ":$tag\$" | sort -u; }
start() { scripts/services.sh | "$@" xargs docker compose up --detach --wait --no-build && "$@" scripts/smoke.sh; }

# The image behind each name that runs now: a build may give the name to another one.
declare -A before=()
for container in $(docker compose ps --all --quiet); do
  before[$(docker inspect --format '{{.Config.Image}}' "$container")]=$(docker inspect --format '{{.Image}}' "$container")
done

if [[ -n ${REGISTRY:-} ]]; then
  names | xargs -n 1 docker pull
elif [[ -n ${TAG:-} ]]; then
  names | xargs docker image inspect --format 'found {{index .RepoTags 0}}'
else
  new docker compose build
fi

if start new; then
  # For every later `docker compose` command.
  sed -i.bak '/^BOUCLE_IMAGES=/d; /^BOUCLE_TAG=/d' .env && rm .env.bak
  printf 'BOUCLE_IMAGES=%s\nBOUCLE_TAG=%s\n' "$images" "$tag" >>.env
  echo "DEPLOYED $tag"
  exit
fi

new docker compose logs --tail 20 serving-api >&2 || true
if ((${#before[@]} == 0)); then
  echo "FAILED: $tag does not predict, and nothing ran before" >&2
  exit 1
fi
echo "$tag does not predict; going back to the images before it" >&2
for name in "${!before[@]}"; do docker tag "${before[$name]}" "$name"; done
start env
echo "ROLLED BACK: $tag does not predict, the images before it do" >&2
exit 1
