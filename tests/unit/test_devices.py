"""Which accelerators a machine has, and how they and the machine are named."""

import dataclasses
import json
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest

from tpuens.hardware import accelerators, host
from tpuens.hardware.accelerators import Accelerator, NvidiaDriver
from tpuens.hardware.devices import (
    DeviceReport,
    collect_versions,
    fingerprint_hardware,
    make_machine_label,
)
from tpuens.hardware.show import format_devices

GIB = 2**30


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def make_host(**changes: object) -> host.Host:
    cpu = {
        name: changes.pop(name)
        for name in ("model", "isa", "usable_cores", "physical_cores")
        if name in changes
    }
    return host.Host(
        **{
            "cpu": host.Cpu(
                **{
                    "model": "AMD EPYC 7B13 64-Core Processor",
                    "physical_cores": 32,
                    "logical_cores": 64,
                    "usable_cores": 64.0,
                    "numa_nodes": 2,
                    "isa": ("avx2", "fma"),
                    **cpu,
                }
            ),
            "memory_bytes": 256 * GIB,
            "usable_memory_bytes": 256 * GIB,
            "operating_system": "Debian GNU/Linux 12",
            "container": None,
            "hypervisor": None,
            **changes,
        }
    )


def make_report(*models: str, **changes: object) -> DeviceReport:
    gpus = tuple(Accelerator(kind="gpu", index=i, model=model) for i, model in enumerate(models))
    return DeviceReport(host=make_host(**changes), accelerators=gpus, versions={"python": "3.11.7"})


# GPUs


def make_nvml(*gpus: tuple[str | bytes, int | None]) -> SimpleNamespace:
    """Returns what stands for the module pynvml on a machine with these GPUs."""

    def memory(index):
        if gpus[index][1] is None:
            raise RuntimeError("Not Supported")
        return SimpleNamespace(total=gpus[index][1])

    def nvlink(index, link):
        if index > 0:
            raise RuntimeError("Not Supported")
        return int(link < 12)

    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: b"580.95.05",
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: gpus[index][0],
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetMaxPcieLinkGeneration=lambda index: 5,
        nvmlDeviceGetMaxPcieLinkWidth=lambda index: 16,
        NVML_NVLINK_MAX_LINKS=18,
        NVML_FEATURE_ENABLED=1,
        nvmlDeviceGetNvLinkState=nvlink,
    )


def test_nvml_tells_driver_names_and_memory(tmp_path):
    driver = accelerators.read_nvidia_driver(tmp_path, make_nvml(("NVIDIA H200", 141), (b"Tesla T4", None)))
    assert driver == NvidiaDriver(
        version="580.95.05",
        gpus=(("NVIDIA H200", 141), ("Tesla T4", None)),
        interconnects=("PCIe 5 ×16, NVLink ×12", "PCIe 5 ×16"),
    )


def test_a_gpu_shows_how_it_is_connected_where_those_of_its_name_agree(tmp_path):
    driver = accelerators.read_nvidia_driver(tmp_path, make_nvml(("NVIDIA H200", 141), ("NVIDIA T4", 16)))
    (gpu,), _ = accelerators.describe_gpus([{"device_name": "NVIDIA H200"}], driver)
    assert gpu.details == {"interconnect": "PCIe 5 ×16, NVLink ×12"}
    driver = accelerators.read_nvidia_driver(tmp_path, make_nvml(("NVIDIA H200", 141), ("NVIDIA H200", 141)))
    (gpu,), _ = accelerators.describe_gpus([{"device_name": "NVIDIA H200"}], driver)
    assert gpu.details == {}


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build", "580.95.05"),
    ],
)  # fmt: skip
def test_without_nvml_the_kernel_module_tells_the_drivers_version(tmp_path, line, version):
    broken = make_nvml()

    def fail():
        raise OSError("libnvidia-ml.so: cannot open shared object file")

    broken.nvmlInit = fail
    plant(tmp_path, {"proc/driver/nvidia/version": line + "\nGCC version: gcc 12.2.0\n"})
    driver = accelerators.read_nvidia_driver(tmp_path, broken)
    assert driver.version == version
    assert driver.problem == "libnvidia-ml.so: cannot open shared object file"


def test_a_gpu_gets_the_memory_of_its_name_whatever_the_drivers_order():
    driver = NvidiaDriver(gpus=(("Tesla T4", 16 * GIB), ("NVIDIA H200", 141 * GIB)))
    listed = [{"device_name": "NVIDIA H200", "compute_capability": (9, 0)}, {"device_name": "Tesla T4"}]
    gpus, notes = accelerators.describe_gpus(listed, driver)
    assert [(gpu.index, gpu.model, gpu.memory_bytes) for gpu in gpus] == [
        (0, "NVIDIA H200", 141 * GIB),
        (1, "Tesla T4", 16 * GIB),
    ]
    assert gpus[0].details == {"compute_capability": "9.0"}
    assert notes == ()


def test_the_memory_of_a_gpu_stays_unknown_where_its_name_does_not_settle_it():
    driver = NvidiaDriver(gpus=(("NVIDIA A100", 40 * GIB), ("NVIDIA A100", 80 * GIB)))
    (gpu,), notes = accelerators.describe_gpus([{"device_name": "NVIDIA A100"}], driver)
    assert gpu.memory_bytes is None
    assert notes == ("The memory of a GPU could not be told.",)


def test_a_gpu_that_tensorflow_does_not_list_is_noted_with_the_remedy():
    gpus, notes = accelerators.describe_gpus([], NvidiaDriver(gpus=(("NVIDIA H200", 1),)))
    assert gpus == ()
    assert "NVIDIA H200" in notes[0]
    assert "tpuens[cuda]" in notes[0]
    assert accelerators.describe_gpus([], NvidiaDriver(problem="no driver")) == ((), ())


# TPUs


def plant_tpu_vm(root: Path, device: str, count: int) -> Path:
    files = {}
    for index in range(count):
        files[f"sys/bus/pci/devices/0000:00:0{index}.0/vendor"] = "0x1ae0\n"
        files[f"sys/bus/pci/devices/0000:00:0{index}.0/device"] = f"{device}\n"
        files[f"dev/vfio/{index}"] = ""
    # A network card of the same vendor is no TPU.
    files["sys/bus/pci/devices/0000:00:09.0/vendor"] = "0x1ae0\n"
    files["sys/bus/pci/devices/0000:00:09.0/device"] = "0x0042\n"
    return plant(root, files)


def test_a_machine_without_a_tpu_lists_none(tmp_path):
    plant(tmp_path, {"dev/vfio/0": "", "dev/accel/accel0": ""})  # other devices have such nodes too
    assert accelerators.describe_tpus(0, None, tmp_path, {}) == ((), ())


def test_tpu_chips_show_on_the_pci_bus_and_a_tensorflow_without_tpu_support_is_noted(tmp_path):
    tpus, notes = accelerators.describe_tpus(0, None, plant_tpu_vm(tmp_path, "0x0063", 4), {})
    assert [(tpu.index, tpu.model) for tpu in tpus] == [(index, "TPU v5e") for index in range(4)]
    assert "4 TPU v5e chip(s)" in notes[0]
    assert "install tensorflow-tpu" in notes[0]


def test_a_tpu_that_another_process_holds_is_not_said_to_want_another_package(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerators.metadata, "version", lambda name: "2.21.0")
    _, notes = accelerators.describe_tpus(0, None, plant_tpu_vm(tmp_path, "0x0063", 4), {})
    assert "another process holds" in notes[0]
    assert "install" not in notes[0]


def test_the_environment_says_which_tpu_it_is_and_tensorflow_how_many(tmp_path):
    environ = {
        "TPU_ACCELERATOR_TYPE": "v3-8",
        "TPU_WORKER_ID": "0",
        "TPU_TOPOLOGY": "2x2",
        "TPU_NAME": "local",
    }
    tpus, notes = accelerators.describe_tpus(8, None, plant_tpu_vm(tmp_path, "0x0027", 4), environ)
    assert len(tpus) == 8
    assert tpus[7] == Accelerator(
        kind="tpu",
        index=7,
        model="TPU v3",
        details={"accelerator_type": "v3-8", "topology": "2x2", "worker": 0},
    )
    assert notes == ()


def test_an_initialised_tpu_is_listed_with_all_its_hosts(tmp_path):
    topology = SimpleNamespace(mesh_shape=(4, 4, 1, 2), num_tasks=4, num_tpus_per_task=8)
    tpus, notes = accelerators.describe_tpus(8, topology, tmp_path, {"TPU_ACCELERATOR_TYPE": "v2-32"})
    assert len(tpus) == 32
    assert tpus[0].model == "TPU v2"
    assert tpus[0].details["mesh_shape"] == "4x4x1x2"
    assert tpus[0].details["num_hosts"] == 4
    assert notes == ()


def test_a_tpu_over_the_network_is_noted_without_its_name(tmp_path):
    tpus, notes = accelerators.describe_tpus(0, None, tmp_path, {"TPU_NAME": "anns-node"})
    assert tpus == ()
    assert "over the network" in notes[0]
    assert "anns-node" not in notes[0]


@pytest.mark.parametrize(
    ("accelerator_type", "model"),
    [("v5litepod-8", "TPU v5e"), ("v5p-8", "TPU v5p"), ("v6e-4", "TPU v6e"), ("v4-16", "TPU v4"),
     ("tpu7x-8", "TPU7x"), ("weird", "TPU")],
)  # fmt: skip
def test_the_type_of_a_tpu_names_its_model(tmp_path, accelerator_type, model):
    (tpu,), _ = accelerators.describe_tpus(1, None, tmp_path, {"TPU_ACCELERATOR_TYPE": accelerator_type})
    assert tpu.model == model


# The report


def test_versions_tell_python_and_what_is_installed():
    versions = collect_versions()
    assert versions["python"] == platform.python_version()
    assert {"tpuens", "numpy", "tensorflow"} <= set(versions)


def test_the_fingerprint_is_16_hex_digits_and_survives_a_reboot():
    before = fingerprint_hardware(make_report("NVIDIA H200"))
    assert len(before) == 16
    assert int(before, 16)
    # After a reboot the kernel keeps a little more of the memory, and NVML is installed now.
    after = make_report("NVIDIA H200", memory_bytes=256 * GIB - 10**7, usable_memory_bytes=256 * GIB - 10**7)
    told = dataclasses.replace(after.accelerators[0], memory_bytes=141 * GIB)
    assert fingerprint_hardware(dataclasses.replace(after, accelerators=(told,), driver="580")) == before


@pytest.mark.parametrize(
    "other",
    [
        make_report(),
        make_report("NVIDIA H200", "NVIDIA H200"),
        make_report("NVIDIA H100 80GB HBM3"),
        make_report("NVIDIA H200", model="Intel Xeon"),
        make_report("NVIDIA H200", isa=("avx2",)),
        make_report("NVIDIA H200", physical_cores=64),
        make_report("NVIDIA H200", usable_cores=2.0),
        make_report("NVIDIA H200", usable_memory_bytes=8 * GIB),
        make_report("NVIDIA H200", memory_bytes=512 * GIB),
    ],
)
def test_other_hardware_has_another_fingerprint(other):
    assert fingerprint_hardware(other) != fingerprint_hardware(make_report("NVIDIA H200"))


@pytest.mark.parametrize(
    ("report", "label"),
    [
        (make_report(), "AMD EPYC 7B13, 32 cores"),
        (make_report(usable_cores=1.5), "AMD EPYC 7B13, 1.5 of 64 threads"),
        (make_report(model="Intel(R) Xeon(R) CPU @ 2.20GHz", physical_cores=1), "Intel Xeon, 1 core"),
        (make_report("NVIDIA H200"), "NVIDIA H200 ×1, AMD EPYC 7B13, 32 cores"),
        (make_report("Tesla T4", "Tesla T4"), "Tesla T4 ×2, AMD EPYC 7B13, 32 cores"),
    ],
)
def test_the_label_names_accelerators_processor_and_cores(report, label):
    assert make_machine_label(report, {}) == label


def test_an_own_label_takes_the_place_of_the_made_one():
    assert make_machine_label(make_report(), {"TPUENS_MACHINE_LABEL": " the big one "}) == "the big one"
    assert make_machine_label(make_report(), {"TPUENS_MACHINE_LABEL": " "}) == "AMD EPYC 7B13, 32 cores"


def test_a_report_becomes_json():
    report = make_report("NVIDIA H200")
    told = json.loads(json.dumps(dataclasses.asdict(report)))
    assert told["host"]["cpu"]["isa"] == ["avx2", "fma"]
    assert told["accelerators"][0]["model"] == "NVIDIA H200"


def test_the_table_shows_limits_accelerators_strategies_and_notes():
    from rich.console import Console

    gpu = Accelerator(
        kind="gpu",
        index=0,
        model="NVIDIA H200",
        memory_bytes=141 * GIB,
        details={"compute_capability": "9.0"},
    )
    report = dataclasses.replace(
        make_report(usable_cores=1.5, usable_memory_bytes=8 * GIB, container="docker", hypervisor="kvm"),
        accelerators=(gpu,),
        driver="580.95.05",
        notes=("Something [is] amiss.",),
    )
    console = Console(width=120)
    with console.capture() as capture:
        console.print(format_devices(report, {"cpu": None, "tpu": "no TPU [shows] here"}))
    lines = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert "Cores 32 physical, 64 logical; this process may use 1.5; 2 NUMA nodes" in lines
    assert "Memory 256.0 GiB; this process may use 8.0 GiB" in lines
    assert "System Debian GNU/Linux 12; in a container (docker); in a virtual machine (kvm)" in lines
    assert "GPU 0 NVIDIA H200, 141.0 GiB, compute capability 9.0" in lines
    assert "NVIDIA driver 580.95.05" in lines
    assert "cpu can run" in lines
    assert "tpu cannot: no TPU [shows] here" in lines
    assert "Note: Something [is] amiss." in lines
