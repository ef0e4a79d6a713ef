#!/bin/sh
# Write Alertmanager's configuration for what the environment and the secrets switch on, then become the command that is given:
#   start.sh alertmanager --config.file=$ALERTMANAGER_CONFIG/alertmanager.yml
# In the image there is a POSIX shell and no more.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

CONFIG=${ALERTMANAGER_CONFIG:-/tmp/alertmanager}
SECRETS=${ALERT_SECRETS:-/run/secrets}
SMTP_REQUIRE_TLS=${SMTP_REQUIRE_TLS:-true}
ALERT_MAIL_FROM=${ALERT_MAIL_FROM:-boucle@localhost}
: "${SLACK_CHANNEL:=}" "${SMTP_SMARTHOST:=}" "${SMTP_USERNAME:=}" "${ALERT_MAIL_TO:=}" "${REPOSITORY_URL:=}" "${GRAFANA_URL:=}"

refuse() {
  echo "alerts: $1; docs/alerts.md says what is needed" >&2
  exit 1
}

has_secret() {
  [ -s "$SECRETS/$1" ] || return 1
  [ -r "$SECRETS/$1" ] || refuse "secrets/alertmanager/$1 may not be read by Alertmanager: chmod 644"
}

# What is off, or on by half: somebody who waits for a message must not wait for ever.
slack='' mail='' login=''
if has_secret slack_webhook_url; then slack=Slack; fi
if [ -n "$SMTP_SMARTHOST$ALERT_MAIL_TO" ]; then
  [ -n "$SMTP_SMARTHOST" ] || refuse "ALERT_MAIL_TO is set, SMTP_SMARTHOST is not"
  [ -n "$ALERT_MAIL_TO" ] || refuse "SMTP_SMARTHOST is set, ALERT_MAIL_TO is not"
  mail=mail
fi
if [ -n "$SMTP_USERNAME" ]; then
  has_secret smtp_password || refuse "SMTP_USERNAME is set, secrets/alertmanager/smtp_password is missing or empty"
  login=login
fi
if [ -z "$slack" ] && [ -n "$SLACK_CHANNEL" ]; then
  refuse "SLACK_CHANNEL is set, secrets/alertmanager/slack_webhook_url is missing or empty"
fi

nobody='nobody, see docs/alerts.md'
case $slack$mail in
  Slackmail) PAGE_TO='Slack and mail' TICKET_TO=Slack ;;
  *) PAGE_TO=${slack:-${mail:-$nobody}} TICKET_TO=$PAGE_TO ;;
esac

drop_block() { printf '/#if %s$/,/#end/d\n' "$1"; }

# One sed line a value; quotes and backslashes would end the string that they stand in.
put_in() {
  value=''
  eval "value=\$$1"
  case $value in *[\'\"\\\|]*) refuse "$1 may not hold quotes, backslashes or |" ;; esac
  printf 's|@%s@|%s|g\n' "$1" "$(printf '%s' "$value" | sed 's/&/\\&/g')"
}

program=$(
  [ -n "$slack" ] || drop_block slack
  [ -n "$mail" ] || drop_block mail
  [ -n "$login" ] || drop_block 'mail login'
  { [ -n "$mail" ] && [ -z "$slack" ]; } || drop_block 'mail without slack'
  for name in CONFIG SECRETS PAGE_TO TICKET_TO SLACK_CHANNEL SMTP_SMARTHOST SMTP_USERNAME SMTP_REQUIRE_TLS ALERT_MAIL_FROM \
    ALERT_MAIL_TO REPOSITORY_URL GRAFANA_URL; do
    put_in "$name"
  done
)
mkdir -p "$CONFIG"
for file in "$here"/alertmanager.yml "$here"/templates/*.tmpl; do
  sed "$program" "$file" >"$CONFIG/${file##*/}"
done
if [ -n "$login" ]; then
  # Alertmanager before 0.27 takes the end of the line for a part of the password: https://github.com/prometheus/alertmanager/issues/3549
  (umask 077 && printf %s "$(cat "$SECRETS/smtp_password")" >"$CONFIG/smtp_password")
fi
if [ -n "$slack$mail" ]; then
  echo "alerts: a page goes to $PAGE_TO, a ticket to $TICKET_TO" >&2
else
  echo "alerts: NOBODY IS NOTIFIED; docs/alerts.md says how to switch on Slack and mail" >&2
fi
exec "$@"
