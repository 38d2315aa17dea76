"""What of a process's environment variables may be published, and how a text is made fit for it."""

import contextlib
import getpass
import platform
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

# Settings that change how fast TensorFlow computes, or what. Names and narrow prefixes only: TF_ alone would
# let through TF_CONFIG (host names) and Terraform's TF_TOKEN_… and TF_VAR_… (secrets).
_NAMES = {
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "LD_PRELOAD",
    "LIBTPU_INIT_ARGS",
    "MALLOC_ARENA_MAX",
    "NCCL_ALGO",
    "NCCL_P2P_DISABLE",
    "NCCL_PROTO",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTHONHASHSEED",
    "TF_CPP_MIN_LOG_LEVEL",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_OVERRIDE_GLOBAL_THREADPOOL",
    "TF_SYNC_ON_FINISH",
    "TF_USE_LEGACY_KERAS",
    "TPU_ACCELERATOR_TYPE",
    "TPU_CHIPS_PER_HOST_BOUNDS",
    "TPU_MEGACORE",
    "TPU_TOPOLOGY",
    "TPU_VISIBLE_CHIPS",
    "TPU_VISIBLE_DEVICES",
    "XLA_FLAGS",
}
_PREFIXES = (
    "DNNL_",
    "KMP_",
    "MKL_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "TF_CUDNN_",
    "TF_GPU_",
    "TF_ONEDNN_",
    "TF_XLA_",
)

_SECRET = re.compile("CREDENTIAL|KEY|PASSWORD|SECRET|TOKEN", re.IGNORECASE)
_SECRETIVE = (
    (re.compile(r"(?:(?<![\w./])[A-Za-z]:[\\/]|\\\\)[^\s,;'\"]*"), "<path>"),  # Windows
    (re.compile(r"(?<![\w.])[/~][^\s,;:'\"=]*"), "<path>"),
    (re.compile(r"\b(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]+)+\b", re.IGNORECASE), "<uuid>"),
)


def select_variables(variables: Mapping[str, str], asked: Container[str] = ()) -> dict[str, str]:
    """Returns those environment variables that change how TensorFlow computes, fit to be published.

    Args:
        variables: All of the process.
        asked: Names of those that the run was asked for (`--env`), which count whatever they are, but for
            what must be a secret by its name.
    """
    home, names = _identity()
    return {
        name: scrub_text(value, home=home, names=names)
        for name, value in sorted(variables.items())
        if name in _NAMES or name.startswith(_PREFIXES) or (name in asked and not _SECRET.search(name))
    }


def publishable(text: str) -> str:
    """Returns a text, such as the end of a log, without what tells who ran it where; see `scrub_text`."""
    home, names = _identity()
    return scrub_text(text, home=home, names=names)


def scrub_text(text: str, *, home: str, names: Iterable[str]) -> str:
    """Returns a text without absolute paths, GPU serial numbers, and the names of user and host.

    Args:
        text: What may hold them.
        home: The home folder; replaced first, since it may hold spaces.
        names: Of the user and the host; replaced where they stand as whole words.
    """
    if len(home) > 1:
        text = text.replace(home, "/home")
    for pattern, replacement in _SECRETIVE:
        text = pattern.sub(replacement, text)
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<name>", text, flags=re.IGNORECASE)
    return text


def _identity() -> tuple[str, tuple[str, ...]]:
    """Returns the home folder, and the names of the user and the host."""
    home, names = "", {platform.node(), platform.node().partition(".")[0]}
    with contextlib.suppress(RuntimeError):
        home = str(Path.home())
    with contextlib.suppress(OSError, KeyError):  # a container's user number may have no name
        names.add(getpass.getuser())
    return home, tuple(sorted(name for name in names if name))
