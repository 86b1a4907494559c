"""The networks of the demo, the study, the benchmarks and the tests.

They are plain PyTorch, as any user would write it: nothing here knows of the compiler. From the
root of a clone: `qbnnc compile weights.pt --model tools.models:LeNet_MCD ...`.

A `*_MCD` class keeps its dropout on when it predicts (Monte-Carlo dropout, Gal and Ghahramani
2016). Every call draws new masks, for each channel after a convolution and for each element after a
linear layer. A `*_BBB` class has Gaussian weights (Bayes by Backprop, Blundell et al. 2015), and
draws them once for a batch. The class without a suffix is the pointwise twin. A posterior of SGHMC
is a list of state_dicts of the pointwise class.
"""

from tools.models.convnet import ConvNet_BBB
from tools.models.dropout import MCDropout, MCDropout2d
from tools.models.gaussian import BBBConv2d, BBBLayer, BBBLinear
from tools.models.lenet import LENET5, LeNet, LeNet_BBB, LeNet_MCD
from tools.models.mlp import MLP, MLP_BBB, MLP_MCD
from tools.models.mobilenet import MobileNet_MCD
from tools.models.resnet import ResNet18
from tools.models.resnet20 import ResNet20_MCD
from tools.models.unet import UNet_MCD

__all__ = [
    "LENET5",
    "MLP",
    "MLP_BBB",
    "MLP_MCD",
    "BBBConv2d",
    "BBBLayer",
    "BBBLinear",
    "ConvNet_BBB",
    "LeNet",
    "LeNet_BBB",
    "LeNet_MCD",
    "MCDropout",
    "MCDropout2d",
    "MobileNet_MCD",
    "ResNet18",
    "ResNet20_MCD",
    "UNet_MCD",
]
