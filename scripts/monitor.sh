#!/usr/bin/env bash
# Prometheus and Alertmanager beside `make run`, from the distribution's packages; Ctrl-C stops both.
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Debian calls it prometheus-alertmanager, everybody else alertmanager.
prometheus=$(command -v prometheus || true)
alertmanager=$(command -v prometheus-alertmanager || command -v alertmanager || true)
[[ $prometheus && $alertmanager ]] ||
  refuse "make monitor needs Prometheus and Alertmanager (Debian: apt-get install prometheus prometheus-alertmanager; macOS: brew install prometheus alertmanager)"

: "${PROMETHEUS_PORT:=9090}" "${ALERTMANAGER_PORT:=9093}" "${SERVING_PORT:=8080}" "${EXPORTER_PORT:=8083}" "${BOUCLE_DATA:=data}"
for part in PROMETHEUS ALERTMANAGER; do
  port=${part}_PORT
  # Debian starts both as services of the machine, on these very ports.
  if (: <"/dev/tcp/127.0.0.1/${!port}") 2>/dev/null; then
    refuse "port ${!port} (${part,,}) is in use: stop what listens there (Debian's own: systemctl disable --now prometheus prometheus-alertmanager)," \
      "or choose another: $port=… make monitor"
  fi
done

mkdir -p "$BOUCLE_DATA"/{prometheus,alertmanager}
data=$(cd "$BOUCLE_DATA" && pwd)
sed -e "s|rules/\*|$PWD/monitoring/prometheus/rules/*|" \
  -e "s/127.0.0.1:9090/127.0.0.1:$PROMETHEUS_PORT/; s/127.0.0.1:9093/127.0.0.1:$ALERTMANAGER_PORT/" \
  -e "s/127.0.0.1:8080/127.0.0.1:$SERVING_PORT/; s/127.0.0.1:8083/127.0.0.1:$EXPORTER_PORT/" \
  monitoring/prometheus/laptop.yml >"$data/prometheus/prometheus.yml"

export ALERTMANAGER_CONFIG=$data/alertmanager/config ALERT_SECRETS=${ALERT_SECRETS:-$PWD/secrets/alertmanager}
cat >"$data/prometheus/Procfile" <<END
prometheus: exec '$prometheus' --config.file='$data/prometheus/prometheus.yml' --storage.tsdb.path='$data/prometheus/tsdb' --web.listen-address=127.0.0.1:$PROMETHEUS_PORT --web.external-url=http://localhost:$PROMETHEUS_PORT --log.level=warn
alertmanager: exec monitoring/alertmanager/start.sh '$alertmanager' --config.file='$ALERTMANAGER_CONFIG/alertmanager.yml' --storage.path='$data/alertmanager/state' --web.listen-address=127.0.0.1:$ALERTMANAGER_PORT --web.external-url=http://localhost:$ALERTMANAGER_PORT --cluster.listen-address= --log.level=warn
END
echo "Prometheus: http://localhost:$PROMETHEUS_PORT   Alertmanager: http://localhost:$ALERTMANAGER_PORT   Ctrl-C stops both"
# Not .env: make has exported what counts, and the environment goes first.
exec honcho --app-root . --env /dev/null --procfile "$data/prometheus/Procfile" start
