"""Where a run was computed: the machine, its state, versions, settings; and what to be cautious about.

Records are published: nothing here may tell the user's name, the host's, a path or a secret.
"""

import contextlib
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import psutil

from tpuens.hardware.devices import DeviceReport, collect_devices, fingerprint_hardware, make_machine_label

from ..records.record import Accelerator, Caution, Environment
from .scrubbing import select_variables

SOURCE = Path(__file__).resolve().parents[2]
PEER_PACKAGES = ("torch", "torchvision", "timm", "grain")

# Rules of thumb, not measured bounds: above them a look at the machine pays.
IDLE_LOAD_PER_CORE = 0.5
FOREIGN_SHARE = 0.1
FREQUENCY_DROP = 0.05
CLOCK_RESOLUTION_SECONDS = 1e-5  # 1 % of a step of a millisecond
SWAPPED_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the machine had done by one moment. Two of them frame a run.

    Attributes:
        seconds: Monotonic clock.
        busy_seconds: CPU time of all processes on all cores since boot, and what the hypervisor withheld.
        own_seconds: CPU time of this process.
        swapped_bytes: Memory swapped in and out since boot.
        load: 1-minute load average; None where the system has none.
        frequency_hz: Mean clock rate of the cores; None where it cannot be read.
    """

    seconds: float
    busy_seconds: float
    own_seconds: float
    swapped_bytes: int
    load: float | None
    frequency_hz: float | None


def take_reading() -> Reading:
    """Returns what the machine has done up to now."""
    times = psutil.cpu_times()
    busy = ("user", "nice", "system", "irq", "softirq", "steal")
    with warnings.catch_warnings():  # psutil warns where a container hides /proc/vmstat
        warnings.simplefilter("ignore", RuntimeWarning)
        swap = psutil.swap_memory()
    return Reading(
        seconds=time.monotonic(),
        busy_seconds=sum(getattr(times, name, 0.0) for name in busy),
        own_seconds=time.process_time(),
        swapped_bytes=swap.sin + swap.sout,
        load=None if sys.platform == "win32" else psutil.getloadavg()[0],
        frequency_hz=read_frequency(),
    )


def take_family_reading() -> Reading:
    """Returns what `take_reading` does, with the CPU time of this process's children counted as its own.

    Finding them takes some milliseconds, so it is left to what has children at work.
    """
    reading, seconds = take_reading(), 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended this moment
            times = child.cpu_times()
            seconds += times.user + times.system
    return replace(reading, own_seconds=reading.own_seconds + seconds)


def join_readings(spans: Sequence[tuple[Reading, Reading]]) -> tuple[Reading, Reading]:
    """Returns two readings that frame all spans, as if nothing had happened in between them.

    For arms that take turns: what the other one does in its turns does not count as a disturbance.
    """
    first, last = spans[0][0], spans[-1][1]
    sums = {
        name: getattr(first, name)
        + sum(getattr(after, name) - getattr(before, name) for before, after in spans)
        for name in ("seconds", "busy_seconds", "own_seconds", "swapped_bytes")
    }
    return first, replace(last, **sums)


def collect_environment(
    *,
    seed: int | None,
    dataset_fingerprint: str | None,
    variables: Mapping[str, str],
    asked_variables: Container[str] = (),
    load_before: float | None,
    frequency_before: float | None,
    report: DeviceReport | None = None,
) -> Environment:
    """Returns where this run was computed. Call it in the worker, once the run is over.

    Args:
        seed: Of the run.
        dataset_fingerprint: Of its data.
        variables: The environment variables of the worker; those that matter are kept, scrubbed.
        asked_variables: Names of those that the run was asked for; they matter.
        load_before: `Reading.load` taken before the run.
        frequency_before: `Reading.frequency_hz` taken before the run.
        report: The machine; None collects it, which imports TensorFlow.
    """
    report = report or collect_devices()
    host, after = report.host, take_reading()
    commit, dirty = read_git_state(SOURCE)
    shells = [shell for shell in (host.container, host.hypervisor) if shell]
    return Environment(
        machine_label=make_machine_label(report),
        fingerprint=fingerprint_hardware(report),
        cpu_model=host.cpu.model,
        physical_cores=host.cpu.physical_cores,
        logical_cores=host.cpu.logical_cores,
        numa_nodes=host.cpu.numa_nodes,
        isa=host.cpu.isa,
        memory_bytes=host.memory_bytes,
        usable_cores=host.cpu.usable_cores,
        usable_memory_bytes=host.usable_memory_bytes,
        accelerators=tuple(
            Accelerator(kind=one.kind, model=one.model, memory_bytes=one.memory_bytes, details=one.details)
            for one in report.accelerators
        ),
        operating_system=host.operating_system,
        container=" on ".join(shells) or None,
        cpu_governor=read_governor(),
        cpu_frequency_hz_before=frequency_before,
        cpu_frequency_hz_after=after.frequency_hz,
        load_before=load_before,
        load_after=after.load,
        driver=report.driver,
        versions=report.versions | _peer_versions(),
        variables=select_variables(variables, asked_variables),
        git_commit=commit,
        git_dirty=dirty,
        dataset_fingerprint=dataset_fingerprint,
        seed=seed,
    )


def environment_cautions(
    environment: Environment,
    *,
    before: Reading | None = None,
    after: Reading | None = None,
    clock_resolution: float | None = None,
) -> tuple[Caution, ...]:
    """Returns what about the machine touches how far a run's numbers can be trusted, and what to do.

    Args:
        environment: The run's.
        before: Taken right before the run; with `after`, what other processes did in between is measured,
            and the load average, which still remembers our own last run, is not asked. Of arms that take
            turns: what `join_readings` gives, or each would count as the other's disturbance.
        after: Taken right after it.
        clock_resolution: Seconds; None asks the clock that times steps.
    """
    found = []
    if before is not None and after is not None:
        found += _disturbance_cautions(before, after, environment.logical_cores)
    elif environment.load_before is not None:
        load = environment.load_before / environment.logical_cores
        if load > IDLE_LOAD_PER_CORE:
            found.append(
                Caution(
                    code="busy-machine",
                    message=f"The load was {load:.2f} per core before the run (idle: below "
                    f"{IDLE_LOAD_PER_CORE}): stop what else runs here, wait a minute, and measure again.",
                )
            )
    first, last = environment.cpu_frequency_hz_before, environment.cpu_frequency_hz_after
    if first and last and last < first * (1 - FREQUENCY_DROP):
        found.append(
            Caution(
                code="frequency-drop",
                message=f"The CPU clock fell from {first / 1e9:.2f} to {last / 1e9:.2f} GHz during the run: "
                "set the governor to performance, see to the cooling, or plug in the power supply.",
            )
        )
    if clock_resolution is None:
        clock_resolution = time.get_clock_info("perf_counter").resolution
    if clock_resolution > CLOCK_RESOLUTION_SECONDS:
        found.append(
            Caution(
                code="coarse-clock",
                message=f"The clock ticks every {clock_resolution * 1e6:.0f} µs only: time blocks of many "
                "steps, and trust no latency of single steps.",
            )
        )
    return tuple(found)


def read_git_state(source: Path) -> tuple[str | None, bool | None]:
    """Returns the commit of a source tree and whether its packages differ from it.

    Both are None where the tree is no git checkout of its own, as an installed wheel is not, even inside
    another project's checkout.
    """
    # Inside a git hook the variables GIT_DIR and GIT_INDEX_FILE would point elsewhere.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(source), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environ)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != source.resolve():
            return None, None
        commit = git("rev-parse", "--verify", "HEAD")
        return commit, bool(git("status", "--porcelain", "--", "tpuens", "bench", "pyproject.toml"))
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, no commit yet, not ours to read
        return None, None


def read_governor(root: Path = Path("/")) -> str | None:
    """Returns the CPU frequency governors in use, joined by commas, or None where Linux shows none."""
    names = set()
    for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):
            names.add(path.read_text().strip())
    return ", ".join(sorted(names)) or None


def _peer_versions() -> dict[str, str]:
    """Returns the versions of what users would run instead, as far as this process has imported it."""
    return {name: metadata.version(name) for name in PEER_PACKAGES if name in sys.modules}


def _disturbance_cautions(before: Reading, after: Reading, logical_cores: int) -> list[Caution]:
    found = []
    seconds = after.seconds - before.seconds
    busy, own = after.busy_seconds - before.busy_seconds, after.own_seconds - before.own_seconds
    share = max(0.0, busy - own) / (seconds * logical_cores) if seconds > 0 else 0.0
    if share > FOREIGN_SHARE:
        found.append(
            Caution(
                code="busy-machine",
                message=f"Other processes, or other guests of the same host, took {share:.0%} of the CPU "
                "time during the run: stop what else runs here and measure again.",
            )
        )
    swapped = after.swapped_bytes - before.swapped_bytes
    if swapped > SWAPPED_BYTES:
        found.append(
            Caution(
                code="swapped",
                message=f"The machine swapped {swapped / 2**20:.0f} MiB during the run: take a smaller "
                "batch or data set, or free memory, and measure again.",
            )
        )
    return found


def read_frequency() -> float | None:
    """Returns the mean clock rate of the cores in hertz; None where it cannot be read."""
    try:
        frequency = psutil.cpu_freq()
    except (NotImplementedError, OSError, RuntimeError):
        return None
    return frequency.current * 1e6 if frequency and frequency.current else None
