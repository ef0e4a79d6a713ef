"""Where alerts arrive in tests: Slack's webhook and a mail server, both real servers of this process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.support import free_port


class Slack:
    """Answers a webhook as Slack does, and keeps what was posted."""

    def __init__(self) -> None:
        posted: list[dict] = []

        class Webhook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.posted = posted
        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Webhook)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T/B/secret"

    def titles(self) -> list[str]:
        """The title of each message, in the order of arrival."""
        return [attachment["title"] for message in list(self.posted) for attachment in message["attachments"]]


class MailServer:
    """Takes mail from one user with one password, and keeps it."""

    def __init__(self, user: str, password: str) -> None:
        self.received: list[EmailMessage] = []
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            auth_required=True,
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],  # Go knows other challenges than aiosmtpd asks
            authenticator=lambda *arguments: AuthResult(
                success=(arguments[-1].login, arguments[-1].password) == (user.encode(), password.encode()),
                handled=False,  # the answer to it is not sent yet
            ),
        )
        self.address = f"127.0.0.1:{self.controller.port}"

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802  # aiosmtpd's name
        self.received.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def subjects(self) -> list[str]:
        """The subject of each mail, in the order of arrival."""
        return [message["Subject"] for message in list(self.received)]


@contextmanager
def slack() -> Iterator[Slack]:
    """Slack, until the block ends."""
    receiver = Slack()
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()


@contextmanager
def mail_server(user: str, password: str) -> Iterator[MailServer]:
    """A mail server, until the block ends."""
    server = MailServer(user, password)
    server.controller.start()
    try:
        yield server
    finally:
        server.controller.stop()
