"""Do the commands that need no TensorFlow answer in the time and memory promised?

Run by hand; pytest does not collect it::

    python tests/benchmarks/command_speed.py [--report]

* ``tpuens --help``, ``tpuens-bench --help`` and ``tpuens-bench list`` in under 0.3 s, and ``tpuens-bench
  compare`` of two folders of records in under 1 s: the median of five processes each, after one that brings
  the files into the page cache.
* ``--report``: ``tpuens-bench report`` on 1,000 records in under 5 s and 500 MB of memory, with a page of
  under 3 MB; ``compare`` and ``check`` of 1,000 records, half of them a side, in under 1 s. The records are
  those of ``results/reference`` again and again: as six repeats on each of a few machines, then, where
  nothing can be pooled, on a machine each time.

Exit code: 0 where all targets are met, else 1.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.execution.command_calls import multiply_records, run_command
from bench.records.store import read_folder, write_record

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
HELP_SECONDS, COMPARE_SECONDS = 0.3, 1.0
RECORDS = 1000
REPORT_SECONDS, REPORT_BYTES, PAGE_BYTES = 5.0, 500e6, 3e6
_PROCESSES = 5


def main() -> int:
    """Measures, prints and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="the report on 1,000 records too: 5 s")
    arguments = parser.parse_args()
    met = []
    for command in ("tpuens --help", "tpuens-bench --help", "tpuens-bench list"):
        met.append(_judge(command, *_time_command(command.split()), limit=HELP_SECONDS))
    folders = [str(REFERENCE / "quick")] * 2
    compared = _time_command(["tpuens-bench", "compare", *folders])
    met.append(_judge("tpuens-bench compare", *compared, limit=COMPARE_SECONDS))
    for repeats in (6, 1) if arguments.report else ():
        with tempfile.TemporaryDirectory() as folder:
            met.append(measure_report(Path(folder), repeats))
    return 0 if all(met) else 1


def measure_report(folder: Path, repeats: int) -> bool:
    """Returns whether the report on many records keeps to its time, memory and size."""
    records = [*read_folder(REFERENCE / "quick"), *read_folder(REFERENCE / "standard")]
    for record in multiply_records(records, RECORDS, repeats):
        write_record(folder, record)
    seconds, peak = run_command(["tpuens-bench", "report", str(folder)])
    what = f"report, {RECORDS:,} records, repeats {repeats}"
    met = _judge(what, [seconds], [peak], limit=REPORT_SECONDS, most=REPORT_BYTES)
    size = (folder / "report.html").stat().st_size
    print(f"{'report.html':<32}{size / 1e6:8.2f} MB{'':9}(under {PAGE_BYTES / 1e6:.0f} MB)")
    half = folder / "half"
    for record in multiply_records(records, RECORDS // 2, repeats):
        write_record(half, record)
    both = [
        _judge(f"{words[0]}, {what[8:]}", *_time_command(["tpuens-bench", *words]), limit=COMPARE_SECONDS)
        for words in (
            ["compare", str(half), str(half)],
            ["check", "--results", str(half), "--baseline", str(half)],
        )
    ]
    return met and all(both) and size < PAGE_BYTES


def _time_command(words: Sequence[str]) -> tuple[list[float], list[int]]:
    runs = [run_command(words) for _ in range(_PROCESSES + 1)][1:]
    return [seconds for seconds, _ in runs], [peak for _, peak in runs]


def _judge(
    what: str, seconds: Sequence[float], peaks: Sequence[int], *, limit: float, most: float = float("inf")
) -> bool:
    median, peak = statistics.median(seconds), max(peaks)
    met = median < limit and peak < most
    room = f"(under {limit:g} s{f' and {most / 1e6:.0f} MB' if most < float('inf') else ''})"
    print(f"{what:<32}{median:8.3f} s {peak / 1e6:6.0f} MB  {room} {'met' if met else 'MISSED'}")
    return met


if __name__ == "__main__":
    sys.exit(main())
