"""Monte-Carlo dropout: masks are drawn in every call, also in eval mode."""

import torch.nn.functional as F
from torch import Tensor, nn


class MCDropout(nn.Module):
    """Dropout of single values, also in eval mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)


class MCDropout2d(nn.Module):
    """Dropout of whole channels, also in eval mode: each image draws anew for each channel."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, training=True)
