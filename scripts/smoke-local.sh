#!/usr/bin/env bash
# One real prediction by the champion. Where no API runs, one is started for it, on a port of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

champion=$(boucle history | awk 'NR == 1 {print $2}')
url=${SERVING_URL:-http://127.0.0.1:${SERVING_PORT:-8080}}
is_ready() { curl --fail --silent --output /dev/null --max-time 5 "$1/readyz"; }

if ! is_ready "$url"; then
  port=$(python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
  url=http://127.0.0.1:$port
  mkdir -p build
  SERVING_PORT=$port SERVING_WORKERS=1 python -m serving >build/smoke.log 2>&1 &
  # shellcheck disable=SC2064 # this very process, also when another came after it
  trap "kill $! && wait $! || true" EXIT
fi
for _ in {1..120}; do
  # A running API swaps within a second of a promotion.
  if is_ready "$url" && said=$(python scripts/smoke.py "$url") && [[ $said == "$champion "* ]]; then
    echo "smoke    $said, at $url"
    exit
  fi
  sleep 0.5
done
echo "smoke    no prediction by the champion $champion at $url; last: ${said:-no answer}" >&2
if [[ -s build/smoke.log ]]; then tail -5 build/smoke.log >&2; fi
exit 1
