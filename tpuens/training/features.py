"""Features of a frozen backbone: each image passes through it once, and the head trains on what came out."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..data.examples import Examples
from ..data.pipeline import Pipeline, draw_epochs
from ..data.streams import PREFETCH_BATCHES, stream_epochs, untuned
from ..errors import DataError
from ..whole import whole_file
from .loop import predict_examples
from .step import PredictStep

# Images between two writes to disk: what a kill may cost.
CHUNK = 512

Features = npt.NDArray[np.float32]


class FeatureStore:
    """Features in a folder, by the content of their images: runs with the same frozen backbone share them.

    Args:
        folder: Where they lie; made when missing.
        identity: What decides a feature beside its image: network, weights, image shape, dtype policy.
        may_write: False on workers other than the chief, which compute for themselves.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, may_write: bool = True) -> None:
        text = json.dumps(identity, sort_keys=True)
        self._folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._identity = text
        self._may_write = may_write
        self._known: dict[str, dict[str, Features]] = {}

    def find(self, view: str) -> dict[str, Features]:
        """Returns the features that there are, by the digest of the image."""
        if view not in self._known:
            known: dict[str, Features] = {}
            for path in sorted((self._folder / view).glob("*.npz")):
                try:
                    with np.load(path, allow_pickle=False) as file:
                        known.update(zip(file["images"].tolist(), file["features"], strict=True))
                except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                    raise DataError(
                        f"A file of features cannot be read: remove it, it is made again. Received: {path} "
                        f"({error})"
                    ) from error
            self._known[view] = known
        return self._known[view]

    def add(self, view: str, images: list[str], features: Features) -> None:
        """Keeps the features of more images, in a file of their own, written whole or not at all.

        Raises:
            DataError: The file cannot be written.
        """
        known = self.find(view)
        known.update(zip(images, features, strict=True))
        if not self._may_write:
            return
        refusal = "Features cannot be written: make room, then go on with `--resume`."
        digest = hashlib.sha256("".join(images).encode()).hexdigest()[:16]
        path = self._folder / view / f"{digest}.npz"
        own = path.with_suffix(f".{os.getpid()}.part")  # another run may be writing the same
        with whole_file(path, refusal, part=own) as part, part.open("wb") as file:
            np.savez(file, images=np.array(images), features=features)
        with whole_file(self._folder / "identity.json", refusal, part=own) as part:
            part.write_text(self._identity + "\n")


def collect_features(
    store: FeatureStore,
    step: PredictStep,
    pipeline: Pipeline,
    view: str,
    *,
    per_replica_batch_size: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Returns the features of a pipeline's examples, float32 (examples, features); computes those missing.

    Args:
        store: Where they are kept.
        step: From images to features: a `PredictStep` with the activation ``"none"``.
        pipeline: Delivers the images.
        view: A name in `VIEWS`.
        per_replica_batch_size: Images a step on each replica.
        on_progress: Told how many of the examples are done, of how many; may raise to stop there.

    Raises:
        DataError: An image is corrupt, or features cannot be read or written.
    """
    examples = pipeline.examples
    known = store.find(view)
    once = replace(pipeline.config, cache="none")  # each image is read a single time
    images = [digest.hex() for digest in examples.images.content_digests()]
    missing = [index for index, image in enumerate(images) if image not in known]
    for start in range(0, len(missing), CHUNK):
        on_progress(len(examples) - len(missing) + start, len(examples))
        indices = missing[start : start + CHUNK]
        chunk = examples.subset(indices)
        rows = predict_examples(
            step, Pipeline(chunk, once), (view,), per_replica_batch_size=per_replica_batch_size
        )
        store.add(view, [images[index] for index in indices], rows)
    return np.stack([known[image] for image in images])


class FeaturePipeline:
    """Batches of features in place of images, in the order in which a pipeline would deliver the images.

    Args:
        pipeline: Of the images.
        features: From a view's name to the features of its examples, float32 (examples, features).
    """

    def __init__(self, pipeline: Pipeline, features: Callable[[str], Features]) -> None:
        self.examples: Examples = pipeline.examples
        self._pipeline = pipeline
        self._features = features

    def train_stream(
        self,
        batch_size: int,
        *,
        epoch: int,
        batches_per_epoch: int,
        skip_batches: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> tf.data.Dataset:
        """Returns the batches of an epoch and of all that follow, as `Pipeline.train_stream`."""
        draw = draw_epochs(
            self._pipeline,
            batch_size,
            epoch=epoch,
            batches_per_epoch=batches_per_epoch,
            skip_batches=skip_batches,
            shard=shard,
        )
        with tf.device("CPU:0"):
            features, targets = tf.constant(self._features("plain")), tf.constant(self._pipeline.targets())
        drawn = stream_epochs(lambda number: (draw(number),), epoch)

        def gather(chosen: Any) -> tuple[Any, Any]:
            return tf.gather(features, chosen), tf.gather(targets, chosen)

        batches = drawn.map(tf.autograph.experimental.do_not_convert(gather))
        return untuned(batches.prefetch(PREFETCH_BATCHES))

    def evaluation_batches(self, batch_size: int, view: str = "plain") -> tf.data.Dataset:
        """Returns every example once, in order, and its index, as `Pipeline.evaluation_batches`."""
        features = self._features(view)
        index = np.arange(len(features), dtype=np.int64)
        padding = -len(features) % batch_size
        rows = np.concatenate([features, np.zeros((padding, *features.shape[1:]), features.dtype)])
        padded = np.concatenate([index, np.full(padding, -1, np.int64)])
        return untuned(
            tf.data.Dataset.from_tensor_slices((rows, padded)).batch(batch_size, drop_remainder=True)
        )
