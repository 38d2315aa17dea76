"""oneDNN's kernels, which TensorFlow leaves alone on processors that gain by them."""

import os
import platform


def prefer_onednn() -> None:
    """Has TensorFlow use oneDNN on an x86 processor; call it before TensorFlow is imported.

    By itself it does so only where there are instructions for neural networks, such as AVX512_VNNI
    (DefaultOneDnnPolicy in its util/port.cc). On two cores of an AMD EPYC with AVX2 the training steps of
    MobileNetV2, DenseNet121 and the CIFAR CNN were 1.27, 1.14 and 1.24 times as fast with it, pairs of
    processes taking turns. A user who sets TF_ENABLE_ONEDNN_OPTS decides.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
