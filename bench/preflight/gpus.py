"""GPUs as XLA's compiler wants them described, where there is none to ask.

The figures are those of XLA's own descriptions of these cards (openxla/xla, 2026-11, in the folder
xla/backends/gpu/target_config/specs).
"""

from dataclasses import dataclass

# What all cards since Volta have in common.
_COMMON = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "threads_per_core_limit": 2048,
    "shared_memory_per_block": 49152,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU.

    Attributes:
        name: What its driver calls it.
        compute_capability: Its major number; the minor one is 0.
        core_count: Multiprocessors.
        memory_bytes: All of it, as the driver reports it.
        memory_bandwidth: In bytes/s.
        shared_memory_per_block_optin: What a block may have that asks for more than usual, in bytes.
    """

    name: str
    compute_capability: int
    core_count: int
    fpus_per_core: int
    clock_rate_ghz: float
    memory_bytes: int
    memory_bandwidth: int
    l2_cache_size: int
    shared_memory_per_core: int
    shared_memory_per_block_optin: int

    def describe(self) -> str:
        """Returns a GpuTargetConfigProto as text; versions are of the CUDA and cuDNN to compile for."""
        figures = {
            **_COMMON,
            "core_count": self.core_count,
            "fpus_per_core": self.fpus_per_core,
            "clock_rate_ghz": self.clock_rate_ghz,
            "device_memory_size": self.memory_bytes,
            "memory_bandwidth": self.memory_bandwidth,
            "l2_cache_size": self.l2_cache_size,
            "shared_memory_per_core": self.shared_memory_per_core,
            "shared_memory_per_block_optin": self.shared_memory_per_block_optin,
        }
        lines = "\n".join(f"  {name}: {value}" for name, value in figures.items())
        return (
            f"gpu_device_info {{\n{lines}\n"
            f'  cuda_compute_capability {{ major: {self.compute_capability} }}\n  name: "{self.name}"\n'
            '  device_vendor: "NVIDIA Corporation"\n  driver_version: "13.0.0"\n'
            '  runtime_version: "12.8.0"\n  compile_time_toolkit_version: "12.8.0"\n'
            '  dnn_version: "9.10.0"\n}\n'
            f'platform_name: "CUDA"\ndevice_description_str: "{self.name}"\n'
            "runtime_version { major: 12 minor: 8 }\ndnn_version_info { major: 9 minor: 10 }\n"
        )


_A100 = {
    "compute_capability": 8,
    "core_count": 108,
    "fpus_per_core": 64,
    "clock_rate_ghz": 1.41,
    "l2_cache_size": 41943040,
    "shared_memory_per_core": 167936,
    "shared_memory_per_block_optin": 166912,
}
A100_40GB = Card(
    name="NVIDIA A100-SXM4-40GB",
    memory_bytes=42331013120,
    memory_bandwidth=1555200000000,
    **_A100,  # type: ignore[arg-type]
)
A100_80GB = Card(
    name="NVIDIA A100-SXM4-80GB",
    memory_bytes=85100068864,
    memory_bandwidth=2039040000000,
    **_A100,  # type: ignore[arg-type]
)
H100 = Card(
    name="NVIDIA H100 80GB HBM3",
    compute_capability=9,
    core_count=132,
    fpus_per_core=128,
    clock_rate_ghz=1.98,
    memory_bytes=84942979072,
    memory_bandwidth=3352320000000,
    l2_cache_size=52428800,
    shared_memory_per_core=233472,
    shared_memory_per_block_optin=232448,
)
