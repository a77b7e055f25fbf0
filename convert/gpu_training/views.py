"""Batches drawn and augmented on the device: batch ``step`` is a function of the faces, the seed and the step alone."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from convert.gpu_training import augment
from edgeface.markup import markup


def draw(key, faces: dict[str, Any], batch_size: int):
    """(B,) faces: a source by its weight (``cumulative``), then one of its faces (``first``, ``count``)."""
    which, where = jax.random.split(key)
    source = jnp.searchsorted(faces["cumulative"], jax.random.uniform(which, (batch_size,)), side="right")
    source = jnp.minimum(source, len(faces["count"]) - 1)
    share = jax.random.uniform(where, (batch_size,))
    count = faces["count"][source]
    return faces["first"][source] + jnp.minimum((share * count).astype(jnp.int32), count - 1)


def batch(key, faces: dict[str, Any], config: dict[str, Any], markups: tuple[str, ...], side: int, batch_size: int):
    """(x, y) as `edgeface.training.pipeline.batches` gives them. config: the fields of an AugmentConfig."""
    c = config
    keys = iter(jax.random.split(key, 32))
    index = draw(next(keys), faces, batch_size)

    def uniform(low=0.0, high=1.0, shape=()):
        return jax.random.uniform(next(keys), (batch_size, *shape), minval=low, maxval=high)

    def chance(probability):
        return uniform() < probability

    def factor(spread):
        return (1 + spread) ** uniform(-1.0, 1.0)

    pose = faces["pose_deg"][index]
    plain = c["crop_scale"] * faces["box_side"][index]
    center = faces["box_center"][index] + uniform(-c["shift"], c["shift"], (2,)) * plain[:, None]
    size = plain * factor(c["scale"])
    angle = uniform(-c["rotation_deg"], c["rotation_deg"])
    if c["damp_profile"]:
        upright = jnp.maximum(jnp.cos(jnp.deg2rad(pose[:, 0])), 0.0)
        angle = angle * jnp.where(jnp.isfinite(upright), upright, 1.0)
    mirrored = chance(c["mirror"])
    matrix = augment.affine(center, size, angle, mirrored, side)
    images = augment.warp(faces["images"][index].astype(jnp.float32), matrix, side)

    blotches = jax.random.uniform(next(keys), (batch_size, 8, 8, images.shape[-1]), maxval=255.0)
    kind = uniform()[:, None, None, None]
    smooth = jax.image.resize(blotches, images.shape, "linear")
    flat = jnp.broadcast_to(blotches[:, :1, :1], images.shape)
    moved = jnp.roll(images, (side // 3, side // 3), (1, 2))
    texture = jnp.floor(jnp.where(kind < 0.25, moved, jnp.where(kind < 0.5, flat, smooth)))
    length = uniform(0.2, 1.0, (2,)) * c["occlude_max"] * side
    spot, turn, elliptic = uniform(0.0, side, (2,)), uniform(0.0, math.pi), chance(0.5)
    images = augment.occlude(images, spot, length, turn, elliptic, texture, chance(c["p_occlude"]))

    toned = chance(c["p_tone"])
    gamma, contrast = (jnp.where(toned, factor(c[name]), 1.0) for name in ("gamma", "contrast"))
    brightness = jnp.where(toned, uniform(-c["brightness"], c["brightness"]), 0.0)
    images = augment.tone(images, gamma, contrast, brightness)
    sigma = jnp.where(chance(c["p_blur"]), uniform(0.3, 1.0) * c["blur_max"] * side, 0.0)
    images = augment.blur(images, sigma)
    grain = jnp.where(chance(c["p_noise"]), uniform(0.2, 1.0) * c["noise_max"], 0.0)
    images = augment.add_noise(images, jax.random.normal(next(keys), images.shape), grain)

    y = {"pose": augment.move_pose(pose, angle, mirrored, c["pose_limit_deg"])}
    for name in markups:
        if name in faces["landmarks"]:
            permutation = np.array(markup(name).mirror)
            y[name] = augment.move_points(faces["landmarks"][name][index], matrix, mirrored, permutation, side)
        else:
            y[name] = jnp.full((batch_size, markup(name).size, 2), jnp.nan)
    return {"image": images}, y
