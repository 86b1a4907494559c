"""All networks of the zoo, by family."""

from __future__ import annotations

from tools.zoo.network import Network
from tools.zoo.networks import (
    attention,
    dynamics,
    images,
    maps,
    mobile,
    recurrent,
    residual,
    series,
    tables,
)

FAMILIES: dict[str, tuple[Network, ...]] = {
    "Tables": tables.NETWORKS + dynamics.NETWORKS,
    "Images": images.NETWORKS + residual.NETWORKS + mobile.NETWORKS,
    "Maps and autoencoders": maps.NETWORKS,
    "Attention and text": attention.NETWORKS,
    "Series": series.NETWORKS + recurrent.NETWORKS,
}
NETWORKS = tuple(network for family in FAMILIES.values() for network in family)


def named(name: str) -> Network:
    """The network of this name; KeyError if there is none."""
    return {network.name: network for network in NETWORKS}[name]
