"""A server as `python -m serving` starts it, in a thread, and a client that writes HTTP itself."""

import socket
import threading
from contextlib import contextmanager

import uvicorn

from tests.support import free_port, wait_for


class Connection:
    """A client that writes HTTP itself."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._read = self._socket.makefile("rb")

    def send(self, *parts):
        for part in parts:
            self._socket.sendall(part)

    def answer(self):
        """Status, headers and body of the next one."""
        status = int(self._read.readline().split()[1])
        headers = {}
        while (line := self._read.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, self._read.read(int(headers.get("content-length", 0)))

    def take_little_at_a_time(self):
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # else the kernel takes megabytes

    def rest(self):
        return self._read.read()

    def close(self):
        self._read.close()
        self._socket.close()


@contextmanager
def listening(app, **options):
    with running(app, **options) as server:
        yield server.config.port


@contextmanager
def running(app, **options):
    protocol = "serving.hot_protocol:HotProtocol"
    config = uvicorn.Config(app, port=free_port(), http=protocol, proxy_headers=False, log_level="critical", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, "uvicorn")
        yield server
    finally:
        server.should_exit = True
        thread.join()


def request(body, *headers, path="/predict", method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
