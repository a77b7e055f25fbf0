"""Blocks that both networks are made of. Every layer is named; padding is explicit where a convolution strides."""

from __future__ import annotations

import keras
from keras import layers


def conv_bn(x, filters: int, *, name: str, kernel: int = 3, stride: int = 1, relu: bool = True):
    """Convolution, batch norm, ReLU.

    Args:
        x: (B, H, W, C).
        filters: channels of the result.
        name: prefix of the layers' names.
        kernel: its side.
        stride: 1, or 2 where H and W are even; the output is then (H / 2, W / 2).
        relu: whether a ReLU ends it.
    """
    if stride > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters, kernel, stride, padding="same" if stride == 1 else "valid", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def patch_bn(image, filters: int, *, name: str):
    """A convolution of stride 4 on 8 x 12 pixels, batch norm, ReLU: (B, H, W, C) -> (B, H / 4, W / 4, filters).

    Four neighbors of a row become channels first, which moves no byte: an int8 kernel reads channels by the four, so
    one gray channel would cost it as much.

    Args:
        image: (B, H, W, C), H and W multiples of 4.
        filters: channels of the result.
        name: prefix of the layers' names.
    """
    height, width, channels = image.shape[1:]
    x = layers.Reshape((height, width // 4, 4 * channels), name=f"{name}_fold")(image)
    x = layers.ZeroPadding2D(((2, 2), (1, 1)), name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, (8, 3), (4, 1), padding="valid", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def stem(image, widths: tuple[int, ...], patch: bool = False):
    """Convolutions of stride 2 named stem1, stem2, …

    Args:
        image: (B, H, W, C).
        widths: channels of each.
        patch: the first is `patch_bn`, of stride 4.
    """
    x = image
    for i, width in enumerate(widths, 1):
        x = patch_bn(x, width, name="stem1") if patch and i == 1 else conv_bn(x, width, name=f"stem{i}", stride=2)
    return x


def separable_bn(x, filters: int, *, name: str, stride: int = 1):
    """Depthwise 3x3 and pointwise convolution, each with batch norm and ReLU (MobileNet).

    Args:
        x: (B, H, W, C).
        filters: channels of the result.
        name: prefix of the layers' names.
        stride: 1 or 2.
    """
    if stride > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = layers.DepthwiseConv2D(
        3, stride, padding="same" if stride == 1 else "valid", use_bias=False, name=f"{name}_dw"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_dw_bn")(x)
    x = layers.ReLU(name=f"{name}_dw_relu")(x)
    return conv_bn(x, filters, name=name, kernel=1)


def residual(x, filters: int, *, name: str, stride: int = 1):
    """Two 3x3 convolutions and a shortcut (ResNet's basic block).

    Args:
        x: (B, H, W, C).
        filters: channels of the result.
        name: prefix of the layers' names.
        stride: 1 or 2.
    """
    y = conv_bn(x, filters, name=f"{name}_a", stride=stride)
    y = conv_bn(y, filters, name=f"{name}_b", relu=False)
    if stride > 1 or x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, stride, use_bias=False, name=f"{name}_short_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_short_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def bottleneck(x, filters: int, *, name: str, stride: int = 1):
    """1x1, 3x3, 1x1 convolutions and a shortcut, inner width a quarter (ResNet-50, Hourglass).

    Args:
        x: (B, H, W, C).
        filters: channels of the result.
        name: prefix of the layers' names.
        stride: 1 or 2.
    """
    y = conv_bn(x, filters // 4, name=f"{name}_a", kernel=1)
    y = conv_bn(y, filters // 4, name=f"{name}_b", stride=stride)
    y = conv_bn(y, filters, name=f"{name}_c", kernel=1, relu=False)
    if stride > 1 or x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, stride, use_bias=False, name=f"{name}_short_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_short_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def upsample(x, *, name: str, factor: int = 2):
    """Bilinear upsampling.

    Args:
        x: (B, H, W, C).
        name: the layer's.
        factor: of both sides.
    """
    return layers.UpSampling2D(factor, interpolation="bilinear", name=name)(x)


def capped(model: keras.Model, ceiling: float = 6.0) -> keras.Model:
    """A network of the same layers and names, with fresh weights, whose ReLUs have a ceiling.

    Args:
        model: a functional model.
        ceiling: the largest activation.
    """

    def swapped(layer):
        config = layer.get_config()
        return type(layer).from_config(config | {"max_value": ceiling} if type(layer) is layers.ReLU else config)

    return keras.models.clone_model(model, clone_function=swapped)
