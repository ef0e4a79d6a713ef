"""A stop that loses no request: what uvicorn's own stop leaves to chance."""

import asyncio
import sys
import time
from socket import IPPROTO_IP, socket

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

GRACE_SECONDS = 0.5
# Since it connected. A browser connects ahead of requests that may never come, and honcho kills after five seconds.
FIRST_REQUEST_SECONDS = 3.0
IP_MINTTL, HIGHEST_TTL = 21, 255  # of Linux; Python's socket module does not name the option


class Workers(Multiprocess):
    """uvicorn's supervisor, which stops the arrivals before it stops the workers.

    uvicorn's closes nothing: until the last worker has drained, the kernel accepts connections that nobody will
    answer. Now those that were accepted are answered, and the others refused, so that a client knows to ask again.
    """

    def terminate_all(self) -> None:
        """Tell every worker to stop."""
        for listening in self.sockets:
            drop_arrivals(listening)
        time.sleep(GRACE_SECONDS)  # the workers take what was accepted from the kernel's queue
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, but that an idle connection may still ask once while the worker stops.

    Its request may be on its way already. The answer says that the connection closes.
    """

    _made = 0.0
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        admit_every_packet(transport.get_extra_info("socket"))
        self._made = self.loop.time()
        super().connection_made(transport)

    def shutdown(self) -> None:
        """Close the connection once it has been quiet for a while, or its request is answered."""
        is_quiet = self.cycle is None or self.cycle.response_complete
        if is_quiet and not self._stopping:
            self.loop.call_later(self._patience(), self._shutdown_again)
        else:
            super().shutdown()
        self._stopping = True

    def _shutdown_again(self) -> None:
        if not self.transport.is_closing():
            self.shutdown()  # not just closed: half a request may have come meanwhile

    def _patience(self) -> float:
        """Seconds. Who has just connected is about to ask, however long its machine keeps it from doing so."""
        if self.scope is not None:  # it has asked before, and knows that idle connections are closed (RFC 9112, 9.3.1)
            return GRACE_SECONDS
        return max(GRACE_SECONDS, self._made + FIRST_REQUEST_SECONDS - self.loop.time())

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        super().on_headers_complete()
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False


def drop_arrivals(listening: socket) -> None:
    """Let the kernel drop what asks for a new connection, while those in the socket's queue stay.

    Only a packet that no router could have touched passes, one with the highest time to live (RFC 5082): clients send
    less. They try again after a second, and are refused then. Elsewhere than on Linux this does nothing.
    """
    if sys.platform == "linux":
        listening.setsockopt(IPPROTO_IP, IP_MINTTL, HIGHEST_TTL)


def admit_every_packet(connection: socket) -> None:
    """Undo `drop_arrivals` for a connection that was being made meanwhile, and inherited it."""
    if sys.platform == "linux":
        connection.setsockopt(IPPROTO_IP, IP_MINTTL, 0)
