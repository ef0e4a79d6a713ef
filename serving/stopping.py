"""A stop that loses no request: what uvicorn's own stop leaves to chance."""

import ctypes
import struct
import sys
import time
from socket import SOL_SOCKET, socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

GRACE_SECONDS = 0.5


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

    _stopping = False

    def shutdown(self) -> None:
        """Close the connection once it has been quiet for a while, or its request is answered."""
        self._stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(GRACE_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        super().on_headers_complete()
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False


def drop_arrivals(listening: socket) -> None:
    """Let the kernel drop every packet for this socket: no new connection, while those in its queue stay.

    A client tries again after a second, and is refused then. Elsewhere than on Linux this does nothing.
    """
    if sys.platform != "linux":
        return
    attach_filter, return_nothing = 26, struct.pack("HBBI", 0x06, 0, 0, 0)  # SO_ATTACH_FILTER; BPF_RET with length 0
    program: Any = ctypes.create_string_buffer(return_nothing)
    listening.setsockopt(SOL_SOCKET, attach_filter, struct.pack("HP", 1, ctypes.addressof(program)))
