"""What the host is: its processor, cores, memory and limits, container and virtual machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import tpuens
from tpuens.hardware import host
from tpuens.hardware.devices import collect_host

GIB = 2**30
XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 avx f16c fma avx2 avx512f avx512_bf16 avx_vnni amx_tile amx_bf16 hypervisor

processor\t: 1
model name\t: another
"""
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16\nCPU implementer\t: 0x41\n"


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_host_is_what_psutil_and_the_platform_say_of_this_machine():
    here = collect_host()
    assert here.cpu.logical_cores == psutil.cpu_count()
    assert here.memory_bytes == psutil.virtual_memory().total
    assert 0 < here.cpu.usable_cores <= here.cpu.logical_cores
    assert 0 < here.usable_memory_bytes <= here.memory_bytes
    assert platform.release() in here.operating_system
    assert here.cpu.model
    if hasattr(os, "sched_getaffinity"):
        assert here.cpu.usable_cores <= len(os.sched_getaffinity(0))


def test_an_affinity_mask_counts_as_fewer_usable_cores():
    cores = psutil.Process().cpu_affinity() if hasattr(psutil.Process(), "cpu_affinity") else []
    if len(cores) < 2:
        pytest.skip("one core only, or no affinity masks on this system")
    psutil.Process().cpu_affinity(cores[:1])
    try:
        assert collect_host().cpu.usable_cores <= 1
    finally:
        psutil.Process().cpu_affinity(cores)


def test_the_host_is_collected_without_tensorflow():
    code = (
        "import sys; from tpuens.hardware.devices import collect_host; collect_host()\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'rich'} & set(sys.modules)"
    )
    source = Path(tpuens.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=source)


def test_proc_cpuinfo_tells_the_first_processors_model_and_its_instruction_sets(tmp_path):
    fields = host.read_cpuinfo(plant(tmp_path, {"proc/cpuinfo": XEON}))
    assert fields["model name"] == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert host.select_isa(fields["flags"].split(), "x86_64") == (
        "amx_bf16", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512f", "avx_vnni", "f16c", "fma", "sse4_2",
    )  # fmt: skip


def test_arm_and_macos_spellings_are_understood():
    assert host.select_isa(["fp", "asimd", "sve", "i8mm"], "aarch64") == ("i8mm", "neon", "sve")
    assert host.select_isa([], "arm64") == ("neon",)
    assert host.select_isa(["sse4.2", "avx1.0", "avx2"], "x86_64") == ("avx", "avx2", "sse4_2")


def test_where_proc_cpuinfo_names_no_model_another_source_does(tmp_path):
    assert collect_host(tmp_path).cpu.model
    arm = collect_host(plant(tmp_path, {"proc/cpuinfo": GRAVITON})).cpu
    assert arm.model
    assert arm.isa == ("bf16", "i8mm", "neon", "sve")


def test_numa_nodes_are_counted_and_unknown_where_none_is_listed(tmp_path):
    assert host.count_numa_nodes(tmp_path) is None
    for name in ("node0", "node1", "has_cpu"):
        (tmp_path / "sys/devices/system/node" / name).mkdir(parents=True)
    assert host.count_numa_nodes(tmp_path) == 2


# Limits of containers


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert host.read_core_limit(tmp_path) is None
    assert host.read_memory_limit(tmp_path) is None


def test_the_tightest_limit_of_all_control_groups_above_counts_in_version_2(tmp_path):
    top = "sys/fs/cgroup"
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "0::/jobs/one\n",
            f"{top}/jobs/cpu.max": "150000 100000\n",
            f"{top}/jobs/memory.max": "max\n",
            f"{top}/jobs/one/cpu.max": "300000 100000\n",
            f"{top}/cpu.max": "max 100000\n",
            f"{top}/jobs/one/memory.max": "4294967296\n",
        },
    )
    assert host.read_core_limit(tmp_path) == 1.5
    assert host.read_memory_limit(tmp_path) == 4 * GIB


def test_a_version_1_container_finds_its_limits_at_the_top_where_its_path_is_the_hosts(tmp_path):
    top = "sys/fs/cgroup"
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
            f"{top}/cpu/cpu.cfs_quota_us": "50000\n",
            f"{top}/cpu/cpu.cfs_period_us": "100000\n",
            f"{top}/memory/memory.limit_in_bytes": "1073741824\n",
        },
    )
    assert host.read_core_limit(tmp_path) == 0.5
    assert host.read_memory_limit(tmp_path) == GIB


def test_version_1_writes_no_limit_as_minus_one_and_as_a_huge_number(tmp_path):
    plant(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n2:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert host.read_core_limit(tmp_path) is None
    assert host.read_memory_limit(tmp_path) is None


def test_a_limited_host_tells_what_the_machine_has_and_what_may_be_used(tmp_path):
    plant(
        tmp_path,
        {
            "proc/cpuinfo": XEON,
            "proc/self/cgroup": "0::/../other\n",
            "sys/fs/cgroup/cpu.max": "50000 100000",
            "sys/fs/cgroup/memory.max": "1048576",
        },
    )
    here = collect_host(tmp_path)
    assert (here.cpu.usable_cores, here.usable_memory_bytes) == (0.5, 2**20)
    assert here.cpu.logical_cores == psutil.cpu_count()
    assert here.memory_bytes == psutil.virtual_memory().total


# Containers and virtual machines


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ({}, {}, None),
        ({".dockerenv": ""}, {}, "docker"),
        ({"run/.containerenv": ""}, {}, "podman"),
        ({"run/systemd/container": "lxc\n"}, {}, "lxc"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({}, {"APPTAINER_CONTAINER": "image.sif"}, "apptainer"),
        ({"proc/self/cgroup": "0::/kubepods/burstable/pod1\n"}, {}, "kubernetes"),
        ({"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}, {}, "wsl"),
        ({}, {"container": "/home/ann/my container"}, None),
    ],
)
def test_a_container_is_told_by_its_marks(tmp_path, files, environ, expected):
    assert host.detect_container(plant(tmp_path, files), environ) == expected


BARE = "flags\t: avx2\n"
GUEST = "flags\t: avx2 hypervisor\n"
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"
DMI = "sys/class/dmi/id"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/cpuinfo": BARE, f"{DMI}/sys_vendor": "Amazon EC2\n"}, None),
        ({"proc/cpuinfo": GUEST, f"{DMI}/sys_vendor": "Amazon EC2\n"}, "amazon"),
        ({"proc/cpuinfo": GUEST, f"{DMI}/product_name": "Google Compute Engine\n"}, "google"),
        ({"proc/cpuinfo": GUEST, CLOCKS: "tsc kvm-clock acpi_pm\n"}, "kvm"),
        ({"proc/cpuinfo": GUEST}, "unknown"),
        ({"proc/cpuinfo": GRAVITON, f"{DMI}/sys_vendor": "Amazon EC2\n"}, "amazon"),
        (
            {
                "proc/cpuinfo": GRAVITON,
                f"{DMI}/sys_vendor": "Amazon EC2\n",
                f"{DMI}/product_name": "m6g.metal\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_a_virtual_machine_is_told_by_flag_firmware_and_clocks(tmp_path, files, expected):
    assert host.detect_hypervisor(plant(tmp_path, files)) == expected
