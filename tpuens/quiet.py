"""TensorFlow's start without its notices."""

import os
import sys
import tempfile

from .hardware.onednn import prefer_onednn


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow and lets it look for devices, keeping the notices of its C++ side off the terminal.

    They come before any log level applies, tell what is no fault ("could not find cuda drivers"), and
    would stand above every table. When the import fails, what was written is shown after all. A user who
    sets TF_CPP_MIN_LOG_LEVEL sees everything that level lets through.
    """
    prefer_onednn()
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            notices.seek(0)
            os.write(real, notices.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
