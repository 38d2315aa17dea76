"""The table of backbones: every network of keras.applications, and our own.

To add one: write a row, and the function that the row names. The function is called as
``factory(input_shape=(height, width, channels))`` and returns a Keras model from float pixels, preprocessed
as the row says, to a feature map (rank 4) or a feature vector (rank 2). Where `Backbone.imagenet_weights`
holds it also takes ``include_top=False`` and ``weights=None | "imagenet"``, as keras.applications' do.
"""

from dataclasses import dataclass
from typing import Literal

from ..registry import Row, Table

Preprocessing = Literal["none", "tf", "torch", "caffe"]


@dataclass(frozen=True, kw_only=True)
class Backbone(Row):
    """One network without its classification layer.

    Attributes:
        image_size: Height and width, in pixels, that the network was made for.
        min_image_size: The least height and width, in pixels, that it takes.
        preprocessing: What becomes of pixels from 0 to 255 on their way in, by the names that
            keras.applications has for it. ``"none"``: nothing, the network holds its own. ``"tf"``: scaled to
            -1 to 1. ``"torch"``: scaled to 0 to 1, then each channel standardised by ImageNet's mean and
            standard deviation. ``"caffe"``: RGB turned into BGR, then ImageNet's mean taken off.
        imagenet_weights: Whether ImageNet weights are published for it.
        takes_grey: Whether it takes images of one channel; for all others grey is repeated three times.
    """

    image_size: int
    min_image_size: int
    preprocessing: Preprocessing
    imagenet_weights: bool = True
    takes_grey: bool = False


def _keras(
    summary: str, preprocessing: Preprocessing, min_image_size: int, **image_sizes: int
) -> tuple[Backbone, ...]:
    """Returns the rows of one family of keras.applications, from the image size of each of its classes."""
    return tuple(
        Backbone(
            name=class_name.lower(),
            factory=f"keras.applications:{class_name}",
            summary=f"{class_name}: {summary}",
            image_size=image_size,
            min_image_size=min_image_size,
            preprocessing=preprocessing,
        )
        for class_name, image_size in image_sizes.items()
    )


def _lite(version: int, image_size: int) -> Backbone:
    """Returns the row of one EfficientNet-Lite."""
    return Backbone(
        name=f"efficientnet_lite{version}",
        factory=f"tpuens.models.efficientnet_lite:build_efficientnet_lite{version}",
        summary=f"EfficientNet-Lite{version}: EfficientNet B{version} without squeeze-and-excite, with ReLU6",
        image_size=image_size,
        min_image_size=32,
        preprocessing="none",
    )


# Keras's policies that make sense here; float16 alone has too little range to train in.
DTYPE_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")

BACKBONES: Table[Backbone] = Table(
    "backbone",
    (
        Backbone(
            name="cifar_cnn",
            factory="tpuens.models.cifar_cnn:build_cifar_cnn",
            summary="six 3×3 convolutions for images of about 32×32, grey or RGB",
            image_size=32,
            min_image_size=8,
            preprocessing="tf",
            imagenet_weights=False,
            takes_grey=True,
        ),
        _lite(0, 224),
        _lite(1, 240),
        _lite(2, 260),
        *_keras(
            "compound scaling (Tan & Le 2019)",
            "none",
            32,
            EfficientNetB0=224,
            EfficientNetB1=240,
            EfficientNetB2=260,
            EfficientNetB3=300,
            EfficientNetB4=380,
            EfficientNetB5=456,
            EfficientNetB6=528,
            EfficientNetB7=600,
        ),
        *_keras(
            "compound scaling with fused blocks (Tan & Le 2021)",
            "none",
            32,
            EfficientNetV2B0=224,
            EfficientNetV2B1=240,
            EfficientNetV2B2=260,
            EfficientNetV2B3=300,
            EfficientNetV2S=384,
            EfficientNetV2M=480,
            EfficientNetV2L=480,
        ),
        *_keras(
            "residual bottlenecks (He et al. 2015)", "caffe", 32, ResNet50=224, ResNet101=224, ResNet152=224
        ),
        *_keras(
            "residual bottlenecks, normalised ahead (He et al. 2016)",
            "tf",
            32,
            ResNet50V2=224,
            ResNet101V2=224,
            ResNet152V2=224,
        ),
        *_keras(
            "residual blocks after transformers' habits (Liu et al. 2022)",
            "none",
            32,
            ConvNeXtTiny=224,
            ConvNeXtSmall=224,
            ConvNeXtBase=224,
            ConvNeXtLarge=224,
            ConvNeXtXLarge=224,
        ),
        *_keras(
            "every layer sees all before it (Huang et al. 2016)",
            "torch",
            32,
            DenseNet121=224,
            DenseNet169=224,
            DenseNet201=224,
        ),
        *_keras("branches of unlike kernels (Szegedy et al. 2015)", "tf", 75, InceptionV3=299),
        *_keras("Inception with residuals (Szegedy et al. 2016)", "tf", 75, InceptionResNetV2=299),
        *_keras("depthwise separable convolutions (Chollet 2016)", "tf", 71, Xception=299),
        *_keras("depthwise separable, for phones (Howard et al. 2017)", "tf", 32, MobileNet=224),
        *_keras("inverted residuals, for phones (Sandler et al. 2018)", "tf", 32, MobileNetV2=224),
        *_keras(
            "found by search, for phones (Howard et al. 2019)",
            "none",
            32,
            MobileNetV3Small=224,
            MobileNetV3Large=224,
        ),
        *_keras("cells found by search (Zoph et al. 2017)", "tf", 32, NASNetMobile=224, NASNetLarge=331),
        *_keras(
            "plain stacks of 3×3 convolutions (Simonyan & Zisserman 2014)", "caffe", 32, VGG16=224, VGG19=224
        ),
    ),
)
