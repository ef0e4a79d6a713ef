"""Notifications reach a real webhook and a real mail server, and a secret is in no message."""

import subprocess
import sys

import pytest

from boucle.config import Recipients
from boucle.errors import NotNotified
from boucle.notifying import Notification, send
from tests import receivers
from tests.support import Home, free_port

COMMAND = ["-c", "import sys; from boucle.cli import main; sys.argv = ['boucle', *sys.argv[1:]]; main()"]
FAILED = Notification("Training", "failed in the exam", "failed")


def notify(home: Home, *arguments: str, **environment: str):
    return subprocess.run(
        [sys.executable, *COMMAND, "notify", *arguments],
        env=home.environment(**environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_webhook_and_a_mailbox_hear_how_it_ended(tmp_path):
    with receivers.slack() as webhook, receivers.mail_server("boucle", "secret") as mail:
        urls = tmp_path / "urls"
        urls.write_text(
            f"# the team\n{webhook.url.replace('http', 'json')}\n\n"
            # pragma: allowlist nextline secret
            f"mailto://boucle:secret@{mail.address}?from=boucle@example.org&to=team@example.org&mode=insecure\n"
        )

        ended = notify(Home(tmp_path), "Training", "v7 is the champion", BOUCLE_NOTIFY_URLS_FILE=str(urls))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["notify   ok: Training: v7 is the champion", "notify   2 told"]
    assert [(one["title"], one["message"], one["type"]) for one in webhook.posted] == [
        ("Training", "v7 is the champion", "success")
    ]
    assert mail.subjects() == ["Training"]


def test_without_recipients_the_terminal_hears_alone(tmp_path):
    ended = notify(Home(tmp_path), "Training", "no news", "--status", "failed")

    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [
        "notify   failed: Training: no news",
        "notify   nobody else is told: BOUCLE_NOTIFY_URLS_FILE names nobody",
    ]


def test_who_was_not_reached_is_named_without_secrets_and_the_others_are_told():
    with receivers.slack() as webhook:
        reached = webhook.url.replace("http", "json")
        # pragma: allowlist nextline secret
        urls = f"json://me:secret@127.0.0.1:{free_port()} nonsense://secret {reached}"

        with pytest.raises(NotNotified, match=r"2 of 3 .* number 1 \(JSON\), number 2 \(no address") as raised:
            send(FAILED, Recipients(urls=urls))

    assert "secret" not in str(raised.value)
    assert [one["type"] for one in webhook.posted] == ["failure"]


def test_a_file_that_is_not_there_is_an_error_and_not_silence(tmp_path):
    ended = notify(Home(tmp_path), "Training", "text", BOUCLE_NOTIFY_URLS_FILE=str(tmp_path / "none"))

    assert ended.returncode == 1
    assert "none: cannot be read" in ended.stderr
