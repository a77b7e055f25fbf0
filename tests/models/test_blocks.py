"""Blocks whose arithmetic has another name: a folded convolution is a plain one."""

import keras
import numpy as np
import pytest

from edgeface.models.blocks import patch_bn, stem


@pytest.mark.parametrize("channels", [1, 3])
def test_the_folded_convolution_is_one_of_stride_4_on_8_x_12_pixels(channels):
    rng = np.random.default_rng(0)
    image = keras.Input((32, 32, channels))
    folded = keras.Model(image, patch_bn(image, 5, name="p"))
    conv = folded.get_layer("p_conv")
    kernel = rng.normal(size=conv.kernel.shape).astype("float32")
    conv.kernel.assign(kernel)
    x = rng.normal(size=(2, 32, 32, channels)).astype("float32")
    # (8, 3, 4 C, F), four neighbours a group -> (8, 12, C, F).
    plain = kernel.reshape(8, 12, channels, 5)
    padded = np.pad(x, ((0, 0), (2, 2), (4, 4), (0, 0)))
    expected = keras.ops.conv(padded, plain, strides=4, padding="valid")
    # Untouched batch norm: a division by sqrt(1 + epsilon).
    expected = np.maximum(np.asarray(expected), 0) / np.sqrt(1 + 1e-3)
    got = np.asarray(folded(x, training=False))
    assert got.shape == (2, 8, 8, 5)
    assert np.allclose(got, expected, atol=1e-4)


def test_a_patch_halves_once_more():
    image = keras.Input((64, 64, 1))
    assert stem(image, (8, 16)).shape == (None, 16, 16, 16)
    assert stem(image, (8, 16), patch=True).shape == (None, 8, 8, 16)
    assert stem(image, ()) is image
