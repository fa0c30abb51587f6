"""Ctrl-C and SIGTERM ask a run to stop; it saves its state at the next step and leaves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether someone has asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one kills as usual.

    >>> with stop_on_signal() as request:
    ...     bool(request)
    False
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers
        return

    def note(number: int, _: FrameType | None) -> None:
        if request:  # asked twice: leave at once, as without us
            restore()
            os.kill(os.getpid(), number)
        request.signal = number

    former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    try:
        yield request
    finally:
        restore()
