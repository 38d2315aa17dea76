"""Several classifiers as one network."""

from collections.abc import Sequence

import keras

from ..errors import ConfigurationError


def fuse_classifiers(members: Sequence[keras.Model]) -> keras.Model:
    """Returns one model whose probabilities are the mean of its members'.

    Its outputs are log probabilities, float32 (batch, classes): softmax leaves their exponentials as they
    are, so it stands wherever a classifier that gives logits does. Call it under the strategy's scope that
    the members were built under; it shares their weights.

    Args:
        members: Classifiers with logits, of the same image shape and classes.

    Raises:
        ConfigurationError: There are fewer than two, or their shapes differ.
    """
    shapes = sorted({f"{member.input_shape[1:]} -> {member.output_shape[1:]}" for member in members})
    if len(members) < 2 or len(shapes) > 1:
        raise ConfigurationError(
            "An ensemble in one network has at least two members of one image shape and number of classes. "
            f"Received: {len(members)} members with {'; '.join(shapes)}"
        )
    images = keras.Input(members[0].input_shape[1:], dtype=members[0].inputs[0].dtype, name="images")
    # Each in a model of its own name: members of one backbone share theirs.
    named = [
        keras.Sequential([member, keras.layers.Softmax(dtype="float32")], name=f"member_{index}")
        for index, member in enumerate(members)
    ]
    mean = keras.layers.Average(dtype="float32")([member(images) for member in named])
    # The smallest positive normal float32 keeps a probability that underflowed to 0 finite.
    logs = keras.ops.log(keras.ops.maximum(mean, 1.2e-38))
    return keras.Model(images, logs, name="ensemble")
