"""The network of the CIFAR-10 recipe: small enough for a CPU, and for grey images too."""

import keras

_WIDTHS = (32, 64, 128)
_DROPOUTS = (0.2, 0.3, 0.4)  # rises with the width: deeper blocks have more to overfit with


def build_cifar_cnn(*, input_shape: tuple[int, int, int]) -> keras.Model:
    """Returns a network from pixels between -1 and 1 to a vector of 128 features.

    Three blocks of two 3×3 convolutions, each followed by ELU and batch normalisation; every block ends
    with max pooling and dropout. Then a dense layer with ELU and batch normalisation. The dropout after
    that one is the classifier's own, ahead of its head.

    Args:
        input_shape: Height, width, channels; height and width are 8 or more, channels any number.
    """
    images = x = keras.Input(input_shape)
    for width, dropout in zip(_WIDTHS, _DROPOUTS, strict=True):
        for _ in range(2):
            x = keras.layers.Conv2D(
                width, 3, padding="same", activation="elu", kernel_initializer="he_normal"
            )(x)
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="elu", kernel_initializer="he_normal")(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(images, x, name="cifar_cnn")
