"""U-Net of the omnimatte: one frame with its background in, the subject's colour and opacity out.

The architecture is that of Omnimatte (Lu and others, 2021) as Generative Omnimatte uses it: five halvings, two dilated
layers, skips from the input on, batch normalisation over the frames of a batch, 2.6 million weights at width 32.
"""

from typing import Any

from ...extras import require

torch = require("torch", extra="train")
nn: Any = torch.nn
SIDE_MULTIPLE = 32
"""Pixels: the frame is halved five times."""


class OmnimatteUNet(nn.Module):  # type: ignore[misc]
    """Map float frames [n, 6, H, W] in [0, 1] to [n, 4, H, W] in [0, 1]: straight colour, then opacity.

    The six channels are the frame and its distance from the background, |frame - background|. H and W divide by 32.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        wide = 4 * width
        self.down = nn.ModuleList(
            [
                _down(6, width, norm=False),
                *(_down(*sizes) for sizes in ((width, 2 * width), (2 * width, wide), (wide, wide), (wide, wide))),
            ]
        )
        self.middle = nn.Sequential(*(_dilated(wide) for _ in range(2)))
        sizes = ((2 * wide, wide), (2 * wide, wide), (2 * wide, 2 * width), (4 * width, width), (2 * width, width))
        self.up = nn.ModuleList([_up(*pair) for pair in sizes])
        self.out = nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(width, 4, 4), nn.Sigmoid())

    def forward(self, frames: Any) -> Any:
        """Run the net on a batch of frames."""
        skips = []
        for layer in self.down:
            frames = layer(frames)
            skips.append(frames)
        frames = self.middle(frames)
        for layer in self.up:
            frames = layer(torch.cat([frames, skips.pop()], dim=1))
        return self.out(frames)


def _down(channels: int, width: int, *, norm: bool = True) -> Any:
    convolution = nn.Conv2d(channels, width, 4, stride=2, padding=1)
    return nn.Sequential(convolution, *([nn.BatchNorm2d(width), nn.LeakyReLU(0.2)] if norm else [nn.ReLU()]))


def _dilated(width: int) -> Any:
    return nn.Sequential(nn.Conv2d(width, width, 4, dilation=2, padding=3), nn.BatchNorm2d(width), nn.LeakyReLU(0.2))


def _up(channels: int, width: int) -> Any:
    return nn.Sequential(nn.ConvTranspose2d(channels, width, 4, 2, padding=1), nn.BatchNorm2d(width), nn.ReLU())
