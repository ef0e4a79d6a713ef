#!/usr/bin/env bash
# Ask Alertmanager: what fires and who hears of it (list), send a message to everybody who hears of pages (test), keep an
# alert quiet (silence NAME FOR COMMENT).
set -euo pipefail
cd "$(dirname "$0")/.."
url=http://127.0.0.1:${ALERTMANAGER_PORT:-9093}

# Where only Docker is, the container has one.
amtool() {
  if command -v amtool >/dev/null; then
    command amtool --alertmanager.url "$url" "$@"
  else
    docker compose exec -T alertmanager amtool --alertmanager.url http://127.0.0.1:9093 "$@"
  fi
}

curl --fail --silent --output /dev/null "$url/-/ready" || {
  echo "no Alertmanager answers at $url: make monitor starts one beside make run; make up in Docker"
  exit 1
}
case $1 in
  list)
    receivers=$(amtool config routes show)
    echo "Who hears of it:"
    sed -n 's/.*receiver: /  /p' <<<"$receivers"
    echo "What fires:"
    amtool alert query --output simple
    ;;
  test)
    amtool alert add alertname=AlertTest severity=page part=test \
      --annotation=summary="This is only a test" \
      --annotation=description="make alert-test sent this message, to see who gets it. It ends by itself in a minute." \
      --annotation=runbook_url=docs/alerts.md --end="$(date --utc --date='1 minute' +%Y-%m-%dT%H:%M:%SZ)"
    echo "sent; within seconds it is where pages go:"
    amtool config routes test severity=page
    ;;
  silence)
    amtool silence add "alertname=$2" --duration "$3" --comment "$4" --author "${USER:-operator}"
    ;;
  *)
    echo "alerts.sh list | test | silence NAME FOR COMMENT"
    exit 2
    ;;
esac
