#!/usr/bin/env bash
# What a machine must hold before the stack starts: generated passwords, and in .env the user who owns data and artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

# Nobody else looks into the folder; in it, each file is readable by the one container that it is mounted into. What an
# operator puts into secrets/alertmanager switches on Slack and mail for alerts, into secrets/notify/urls for pipelines.
mkdir -p secrets/alertmanager secrets/notify && chmod 700 secrets
touch secrets/notify/urls
for name in database_password grafana_password jenkins_password; do
  [[ -s secrets/$name ]] && continue
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
  chmod 444 "secrets/$name"
  echo "generated secrets/$name"
done

touch .env
if ! grep -q '^BOUCLE_UID=' .env; then
  uid=${SUDO_UID:-$(id -u)} gid=${SUDO_GID:-$(id -g)}
  # Containers do not run as root, also when root starts them.
  ((uid != 0)) || uid=1000 gid=1000
  printf 'BOUCLE_UID=%s\nBOUCLE_GID=%s\n' "$uid" "$gid" >>.env
fi
mkdir -p data artifacts
if (($(id -u) == 0)); then
  chown -R "$(sed -n 's/^BOUCLE_UID=//p' .env):$(sed -n 's/^BOUCLE_GID=//p' .env)" data artifacts
fi
