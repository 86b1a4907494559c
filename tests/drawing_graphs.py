"""FLOAT graphs that draw noise on activations, choices between constants, and masks of weights."""

from __future__ import annotations

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Add, ChoiceIndex, Conv2d, Distribution, Function, Linear, Multiply, Noise
from tests.net import Net


def drawn_weights(seed: int = 0) -> Graph:
    """Convolutions that drop weights, and layers that choose one of three weights and biases."""
    net = Net((2, 8, 8), seed)
    weight = net.dropped("conv.weight", net.constant("conv.all", 4, 2, 3, 3, scale=0.3), 0.3)
    net.emit(Conv2d(), weight, net.constant("conv.bias", 4), name="conv").batch_norm("bn")
    net.relu("relu").max_pool("pool").flatten("flatten")
    index = net.drawn(ChoiceIndex(3, net.streams), "index")
    parameters = net.choice("fc.weight", index, 6, 36, scale=0.2), net.choice("fc.bias", index, 6)
    net.emit(Linear(), *parameters, name="fc").relu("relu2")
    chosen = net.choice("out.weight", index, 3, 6, scale=0.4)
    weight = net.dropped("out.kept", chosen, 0.1)
    return net.emit(Linear(), weight, net.constant("out.bias", 3), name="out").graph()


def noisy_activations(seed: int = 0) -> Graph:
    """Noise that is added and multiplied, functions of noise, and a choice for each row."""
    net = Net((2, 6, 6), seed).conv(4, 3, "conv").relu("relu")
    image, shape = net.value, net.value.type.shape
    net.value = net.drawn(Noise(Distribution.NORMAL, shape, net.streams), "eps")
    net.unary(Function.EXP, "log_normal").emit(Multiply(), image, name="times")
    shared = Noise(Distribution.UNIFORM, (4, 4, 4), net.streams, shared=True)
    net.emit(Add(), net.drawn(shared, "uniform"), name="plus").flatten("flatten")
    hidden = net.linear(5, "fc").value
    twice = net.drawn(Noise(Distribution.NORMAL, (5,), net.streams), "twice")
    net.value = twice
    net.emit(Multiply(), twice, name="square").emit(Add(), hidden, name="skewed")
    index = net.drawn(ChoiceIndex(4, net.streams, shared=False), "index")
    return (
        net.emit(Multiply(), net.choice("mask", index, 5), name="chosen").linear(2, "out").graph()
    )
