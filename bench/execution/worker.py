"""The child: one run in a fresh process, told what to do on standard input.

The first line of standard input is the request; a second request follows where this process has both arms of
a comparison, and orders where arms take turns. Its
end means that the launcher is gone, and then the worker goes too, so that nothing is left running. Standard
output carries messages only; whatever TensorFlow and others print goes to standard error, which the launcher
keeps as the run's log.
"""

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from tpuens.errors import DeviceError, TpuensError
from tpuens.hardware.onednn import prefer_onednn

from ..measuring.memory import MemoryTimeline, collect_memory
from ..peers.table import import_first
from ..suites import Request
from .messages import Message, Order, Refused, decode_order, encode_message

SPAWNED_AT = "TPUENS_BENCH_SPAWNED_AT"  # seconds since the epoch, set by the launcher
OUT_OF_MEMORY = "The device ran out of memory"  # begins the reason of such a refusal
TAKES_TURNS = "--takes-turns"  # an argument: wait for orders once all is prepared
BOTH_ARMS = "--both-arms"  # an argument: there are two requests, whose turns are taken in this process
# TensorFlow and Keras import them where they are installed, for pictures, tables and wrappers that no run
# has a use for; a run that needs one itself imports it then. Without them a worker starts in 2.1 s, not 3.5.
_NEEDLESS = ("jax", "matplotlib", "pandas", "scipy", "sklearn")


def main() -> None:
    """Runs one request; exit code 0 when it said how it ended."""
    process_start = time.time() - float(os.environ.get(SPAWNED_AT, time.time()))
    timeline = MemoryTimeline().start()
    messages = _take_over_stdout()

    def send(message: Message) -> None:
        messages.write(encode_message(message))
        messages.flush()

    count = 2 if BOTH_ARMS in sys.argv else 1
    requests = [msgspec.json.decode(sys.stdin.buffer.readline(), type=Request) for _ in range(count)]
    orders: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=[orders], daemon=True).start()

    def receive() -> Order:
        return decode_order(orders.get())  # it sleeps, so that whose turn it is has the machine

    try:
        start = time.perf_counter()
        import_first(name for one in requests for name in (one.scenario.loader, one.scenario.loop))
        is_ours = all(one.scenario.loop == "tpuens" for one in requests)
        if is_ours:
            prefer_onednn()  # others' loops have TensorFlow as it comes
        with hide_packages(_NEEDLESS if is_ours else ()):
            from .runner import run_in_turns, run_request  # imports TensorFlow

        phases = {"process_start": process_start, "import": time.perf_counter() - start}
        shared: dict[str, Any] = {
            "phases": phases,
            "send": send,
            "read_memory": lambda: timeline.add_to(collect_memory()),
        }
        if TAKES_TURNS in sys.argv:
            for finished in run_in_turns(requests, receive=receive, **shared):
                send(finished)
        else:
            send(run_request(requests[0], **shared))
    except DeviceError as error:
        send(Refused(reason=str(error), skipped=True))
    except TpuensError as error:
        send(Refused(reason=str(error), skipped=False))
    except BaseException as error:
        traceback.print_exc()
        send(Refused(reason=_explain(error), skipped=False))
    sys.stderr.flush()
    # TensorFlow's threads can hang in their own shutdown, and the one that waits for the launcher would
    # make Python's fail; everything that matters has been said.
    os._exit(0)


@contextlib.contextmanager
def hide_packages(names: tuple[str, ...]) -> Iterator[None]:
    """Hides packages from what is imported within, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # Python refuses to import what is None
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _explain(error: BaseException) -> str:
    if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's: named, so that it is not imported
        return f"{OUT_OF_MEMORY}: take a smaller batch, image or network. {str(error)[:500]}"
    return f"{type(error).__name__}: {error}"


def _take_over_stdout() -> BinaryIO:
    """Returns the real standard output, and sends everything else that is written there to the log."""
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return messages


def _listen(orders: "queue.Queue[bytes]") -> None:
    """Passes orders on, and leaves with the launcher."""
    for line in sys.stdin.buffer:
        orders.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
