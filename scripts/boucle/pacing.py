"""Moments in a long piece of work at which others may go first."""

import time

BREATH_SECONDS = 0.0005


def breathe() -> None:
    """Hand over the interpreter, and the core, to those who answer requests; called every millisecond of work or so.

    Python takes the interpreter from a thread after 5 ms, and Linux the core at its next tick, up to 4 ms later, be the
    thread's priority the lowest. Who sleeps hands over both at once.
    """
    time.sleep(BREATH_SECONDS)
