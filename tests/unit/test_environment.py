import dataclasses
import getpass
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

import tpuens
from bench.measuring.environment import (
    Reading,
    collect_environment,
    environment_cautions,
    read_git_state,
    read_governor,
    take_reading,
)
from bench.measuring.memory import peak_resident_bytes
from bench.measuring.scrubbing import scrub_text, select_variables
from bench.records.record import Environment
from tpuens.hardware.devices import Accelerator, DeviceReport, collect_host, collect_versions

ROOT = Path(tpuens.__file__).parents[1]
NASTY = {
    "OMP_NUM_THREADS": "2",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "XLA_FLAGS": f"--xla_dump_to={Path.home()}/dump --xla_gpu_autotune_level=4",
    "LD_PRELOAD": "/usr/lib/libtcmalloc.so:/opt/x.so",
    "CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,1",
    "TF_CONFIG": '{"cluster": {"worker": ["node-of-ann:2222"]}}',
    "TF_TOKEN_app_terraform_io": "secret",
    "TF_VAR_password": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PATH": "/usr/bin",
    "HOME": str(Path.home()),
}


def make_environment(**changes: object) -> Environment:
    gpu = Accelerator(kind="gpu", index=0, model="NVIDIA H200", details={"compute_capability": "9.0"})
    report = DeviceReport(host=collect_host(), accelerators=(gpu,), driver="580", versions=collect_versions())
    environment = collect_environment(
        seed=7,
        dataset_fingerprint="abc",
        variables=NASTY,
        load_before=0.25,
        frequency_before=3e9,
        report=report,
    )
    return msgspec.structs.replace(environment, **changes)


def codes(environment: Environment, **arguments: object) -> list[str]:
    return [caution.code for caution in environment_cautions(environment, **arguments)]


# What is recorded


def test_an_environment_holds_what_the_machine_and_the_run_are():
    environment = make_environment()
    assert environment.logical_cores == psutil.cpu_count()
    assert environment.memory_bytes == psutil.virtual_memory().total
    assert environment.accelerators[0].model == "NVIDIA H200"
    assert environment.accelerators[0].details == {"compute_capability": "9.0"}
    assert environment.versions["python"] == platform.python_version()
    assert environment.versions["tpuens"] == tpuens.__version__
    assert (environment.seed, environment.dataset_fingerprint, environment.driver) == (7, "abc", "580")
    assert (environment.load_before, environment.cpu_frequency_hz_before) == (0.25, 3e9)
    assert re.fullmatch("[0-9a-f]{16}", environment.fingerprint)


def test_an_environment_survives_json():
    environment = make_environment()
    assert msgspec.json.decode(msgspec.json.encode(environment), type=Environment) == environment


def test_an_environment_tells_neither_user_nor_host_nor_home_nor_any_path():
    environment = make_environment()
    # "Debian GNU/Linux" is no secret, even on a machine that is called debian.
    text = msgspec.json.encode(msgspec.structs.replace(environment, operating_system="")).decode()
    assert str(Path.home()) not in text
    for name in {getpass.getuser(), platform.node(), "ann", "secret"}:
        assert not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE), name
    assert not re.search(r"(?<![\w.<])/\w|[A-Za-z]:\\", text)
    for word in environment.operating_system.split():
        assert not word.startswith("/")


def test_of_the_environment_variables_only_those_on_the_list_are_kept():
    assert select_variables(NASTY) == {
        "CUDA_VISIBLE_DEVICES": "<uuid>,1",
        "LD_PRELOAD": "<path>:<path>",
        "OMP_NUM_THREADS": "2",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "XLA_FLAGS": "--xla_dump_to=<path> --xla_gpu_autotune_level=4",
    }


def test_a_variable_that_was_asked_for_is_kept_unless_its_name_is_that_of_a_secret():
    variables = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1", "HF_TOKEN": "abc", "EDITOR": "vi"}
    kept = select_variables(variables, asked={"GLIBC_TUNABLES", "HF_TOKEN"})
    assert kept == {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("--xla_dump_to=/home/ann/dump", "--xla_dump_to=<path>"),
        ("--dir=/home/ann b/dump", "--dir=<path>"),
        (r"--dir=C:\Users\bob\dump --x", "--dir=<path> --x"),
        ("--dir=~/dump,/tmp", "--dir=<path>,<path>"),
        ("--dir=../ann/dump", "--dir=../<name>/dump"),
        ("--target=DGX1:2222", "--target=<name>:2222"),
        ("granularity=fine,compact,1,0", "granularity=fine,compact,1,0"),
        ("--ratio=1/2 --annealing", "--ratio=1/2 --annealing"),
    ],
)
def test_paths_and_names_are_scrubbed_and_nothing_else(text, scrubbed):
    assert scrub_text(text, home="/home/ann b", names=("ann", "dgx1")) == scrubbed


def test_environment_and_memory_are_imported_without_tensorflow():
    code = (
        "import sys, bench.measuring.environment, bench.measuring.memory\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'pandas', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_governors_are_read_where_linux_shows_them(tmp_path):
    assert read_governor(tmp_path) is None
    for index, name in enumerate(("powersave", "performance", "powersave")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{index}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(name + "\n")
    assert read_governor(tmp_path) == "performance, powersave"


# The source tree


def git(folder: Path, *arguments: str) -> str:
    # A hook's GIT_DIR, and the user's own settings, must not reach this repository.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *author, *arguments], cwd=folder, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/__init__.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_a_clean_checkout_has_a_commit_and_is_not_dirty(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))  # as inside a git hook
    assert read_git_state(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


def test_results_make_no_checkout_dirty_but_a_new_module_does(checkout):
    (checkout / "results").mkdir()
    (checkout / "results/record.json").write_text("{}")
    assert read_git_state(checkout)[1] is False
    (checkout / "bench/new.py").write_text("")
    assert read_git_state(checkout)[1] is True


def test_a_package_installed_inside_another_projects_checkout_has_no_commit(checkout):
    inside = checkout / ".venv/lib/site-packages"
    inside.mkdir(parents=True)
    assert read_git_state(inside) == (None, None)


def test_without_a_checkout_or_a_commit_or_git_there_is_no_commit(tmp_path, monkeypatch):
    assert read_git_state(tmp_path) == (None, None)
    git(tmp_path, "init", "--quiet")
    assert read_git_state(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert read_git_state(tmp_path) == (None, None)


# Cautions


def make_readings(**after: float) -> dict[str, Reading]:
    before = Reading(
        seconds=100.0, busy_seconds=50.0, own_seconds=10.0, swapped_bytes=0, load=None, frequency_hz=None
    )
    return {"before": before, "after": dataclasses.replace(before, **after)}


def test_a_quiet_machine_raises_no_caution():
    quiet = make_environment(load_before=0.1, cpu_frequency_hz_before=3e9, cpu_frequency_hz_after=2.9e9)
    assert codes(quiet, clock_resolution=1e-9) == []


def test_load_is_judged_per_core():
    environment = make_environment(
        logical_cores=4, load_before=2.1, cpu_frequency_hz_before=None, cpu_frequency_hz_after=None
    )
    (caution,) = environment_cautions(environment, clock_resolution=1e-9)
    assert caution.code == "busy-machine"
    assert "0.53 per core" in caution.message
    assert codes(msgspec.structs.replace(environment, load_before=1.9), clock_resolution=1e-9) == []
    assert codes(msgspec.structs.replace(environment, load_before=None), clock_resolution=1e-9) == []


def test_what_other_processes_did_is_judged_in_place_of_the_load():
    environment = make_environment(
        logical_cores=4, load_before=99.0, cpu_frequency_hz_before=None, cpu_frequency_hz_after=None
    )
    # 10 s on 4 cores: 40 s of CPU time, of which 32 s were our own.
    own = make_readings(seconds=110.0, busy_seconds=85.0, own_seconds=42.0)
    assert codes(environment, **own, clock_resolution=1e-9) == []
    foreign = make_readings(seconds=110.0, busy_seconds=85.0, own_seconds=40.0)
    (caution,) = environment_cautions(environment, **foreign, clock_resolution=1e-9)
    assert caution.code == "busy-machine"
    assert "12%" in caution.message


def test_swapped_memory_is_a_caution():
    environment = make_environment(cpu_frequency_hz_before=None)
    swapped = make_readings(seconds=110.0, swapped_bytes=5 * 2**20)
    (caution,) = environment_cautions(environment, **swapped, clock_resolution=1e-9)
    assert caution.code == "swapped"
    assert "5 MiB" in caution.message
    assert codes(environment, **make_readings(seconds=110.0, swapped_bytes=4096), clock_resolution=1e-9) == []


def test_a_clock_rate_that_fell_by_more_than_5_percent_is_a_caution():
    environment = make_environment(
        load_before=None, cpu_frequency_hz_before=3e9, cpu_frequency_hz_after=2.84e9
    )
    (caution,) = environment_cautions(environment, clock_resolution=1e-9)
    assert caution.code == "frequency-drop"
    assert "from 3.00 to 2.84 GHz" in caution.message
    assert (
        codes(msgspec.structs.replace(environment, cpu_frequency_hz_after=3.5e9), clock_resolution=1e-9) == []
    )


def test_a_clock_of_a_millisecond_is_a_caution():
    environment = make_environment(load_before=None, cpu_frequency_hz_before=None)
    assert codes(environment, clock_resolution=1e-3) == ["coarse-clock"]


def test_what_the_machine_did_is_all_that_was_neither_idle_nor_waiting():
    times = psutil.cpu_times()
    rest = ("idle", "iowait", "guest", "guest_nice")  # a guest's time stands in the user's already
    busy = sum(times) - sum(getattr(times, name, 0.0) for name in rest)
    assert take_reading().busy_seconds == pytest.approx(busy, rel=0.05)


def test_readings_of_this_machine_count_this_process_as_its_own():
    before, total = take_reading(), 0
    while time.process_time() - before.own_seconds < 0.1:
        total += sum(range(10_000))
    after = take_reading()
    own = after.own_seconds - before.own_seconds
    assert 0.1 <= own < 0.2
    assert after.seconds - before.seconds >= own * 0.9
    assert after.busy_seconds - before.busy_seconds >= own - 0.05  # the system counts in ticks of 10 ms
    assert after.swapped_bytes >= before.swapped_bytes


# Memory


def test_the_peak_is_that_of_this_process_and_never_falls():
    before = peak_resident_bytes()
    resident = psutil.Process().memory_info().rss
    assert before >= resident * 0.9
    held = b"1" * (before + 2**26)  # all of it: what was freed before may still be resident, and serve
    grown = peak_resident_bytes()
    del held
    assert grown > before
    assert peak_resident_bytes() >= grown * 0.99  # Linux counts pages in batches


def test_where_linux_tells_no_peak_the_system_is_asked(tmp_path):
    asked = peak_resident_bytes(tmp_path / "absent")
    assert asked >= psutil.Process().memory_info().rss * 0.9
    (tmp_path / "status").write_text("VmPeak:\t 9 kB\nVmHWM:\t    1716 kB\nVmRSS:\t 5 kB\n")
    assert peak_resident_bytes(tmp_path / "status") == 1716 * 1024


def test_a_worker_does_not_start_with_the_peak_of_the_process_that_launched_it():
    held = b"1" * 2**27
    code = "from bench.measuring.memory import peak_resident_bytes; print(peak_resident_bytes())"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(child.stdout) < 2**26 < len(held)
