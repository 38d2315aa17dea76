"""Our own commands, called in processes of their own: how long they take, and how much memory they hold."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tpuens.errors import InterruptedRunError, RunError
from tpuens.training.interrupts import catch_stop_signals

from ..analysis.phases import time_measuring
from ..peers.measurements import Calls
from ..peers.readings import SAMPLES_FILE, CommandSamples
from ..records.atomic import write_file
from ..records.record import Environment, RunRecord
from ..records.store import read_folder, write_record
from .start import ROOT

FEW, MANY = 18, 1000
_REFERENCE = ROOT / "results" / "reference"
_START = "import sys; sys.path[0] = sys.argv.pop(1); from {module} import main; main()"
_MODULES = {"tpuens": "tpuens.cli", "tpuens-bench": "tpuens.bench_command"}
_PAGE = "report.html"


def call_command(calls: Calls, folder: Path) -> None:
    """Calls a command again and again, and writes what came of it into the folder.

    The first of several calls is not counted: it brings files into the page cache.

    Raises:
        RunError: The command failed, or there are no records to give it.
        InterruptedRunError: Ctrl-C.
    """
    taken: list[tuple[float, int]] = []
    measuring: list[float] = []
    page = None
    with tempfile.TemporaryDirectory() as scratch:
        places = _make_places(Path(scratch), calls.words)
        for number in range(calls.processes + (calls.processes > 1)):
            new = places["new"] / str(number)
            taken.append(run_command([word.format(**{**places, "new": new}) for word in calls.words]))
            if "{new}" in calls.words:
                found = time_measuring(read_folder(new))
                measuring.append(found.seconds if found else 0.0)
        if "{records}" in calls.words:
            page = (places["records"] / _PAGE).stat().st_size
    counted = taken[-calls.processes :]
    samples = CommandSamples(
        command=" ".join(calls.words),
        seconds=tuple(seconds for seconds, _ in counted),
        peak_bytes=tuple(peak for _, peak in counted),
        page_bytes=page,
        measuring_seconds=tuple(measuring[-calls.processes :]),
    )
    content = msgspec.json.format(msgspec.json.encode(samples), indent=1) + b"\n"
    write_file(folder / SAMPLES_FILE, content, overwrite=True)


def run_command(words: Sequence[str]) -> tuple[float, int]:
    """Returns the seconds that a command takes in a process of its own, and its peak memory in bytes.

    Args:
        words: As a person types it, ``tpuens`` or ``tpuens-bench`` first.

    Raises:
        RunError: It failed.
        InterruptedRunError: Ctrl-C, which the command gets as well.
    """
    with catch_stop_signals() as stop, tempfile.TemporaryFile() as output:
        code = _START.format(module=_MODULES[words[0]])
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(ROOT), *words[1:]], stdout=subprocess.DEVNULL, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if stop.requested:
            raise InterruptedRunError("Stopped; what was finished is kept.")
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()[-3:]
            raise RunError(f"{' '.join(words)} failed: {' '.join(said)}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def multiply_records(records: Sequence[RunRecord], count: int, repeats: int = 6) -> Iterable[RunRecord]:
    """Yields so many records: the same ones, so often repeated, on one machine after another."""
    numbers = itertools.count()
    for turn in itertools.count():
        machine, repeat = divmod(turn, repeats)
        for record in records:
            number = next(numbers)
            if number == count:
                return
            environment = _rename(record.environment, machine)
            yield msgspec.structs.replace(record, id=f"{number:012x}", repeat=repeat, environment=environment)


def _make_places(scratch: Path, words: Sequence[str]) -> dict[str, Path]:
    """Returns the folders that the words of a command name in braces."""
    places = {"new": scratch / "new"}
    for name, count in (("few", FEW), ("records", MANY)):
        if f"{{{name}}}" in words:
            places[name] = scratch / name
            for record in multiply_records(_read_reference(), count):
                write_record(places[name], record)
    return places


def _read_reference() -> list[RunRecord]:
    if not _REFERENCE.is_dir():
        raise RunError(
            "Commands are timed on the records of results/reference, which a checkout of the project has "
            "and an installed package has not."
        )
    return [record for name in ("quick", "standard") for record in read_folder(_REFERENCE / name)]


def _rename(environment: Environment | None, machine: int) -> Environment | None:
    if environment is None:
        return None
    return msgspec.structs.replace(
        environment, machine_label=f"machine {machine}", fingerprint=f"{machine:016x}"
    )
