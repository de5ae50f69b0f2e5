"""The subject by SAM 2 (SAM 2.1, EdgeTAM, SAM 3's tracker): from points, boxes or masks of a few frames.

The soft masks are kept: the sigmoid of the logits, stretched over the clip, is the subject's coverage. Key masks stand
as they are. A frame's confidence is the worst of what `provided` checks on any mask, of the overlap that the
network predicts of itself, of the agreement of the two directions in time, and of two signs of a mask on the wrong
thing: it vanishes inside the picture, or lies on another subject.

At 384x672 a frame takes 5.5 to 6.4 s on two cores with SAM 2.1 tiny (39 M weights), and 28 CPU seconds and 2.3 GiB with
large (224 M); twice that with `check_directions`. It is meant for a GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np

from ..arrays import Rgb
from ..settings import CheckedSettings, InRange
from ..weights import LocalModel, WeightsRef, find_weights
from .subject import SubjectTrack, plausibility, weigh_checks
from .tracking.prompted_tracking import TrackingModel, disappearance, overlap_with_others, track_objects
from .tracking.prompts import SubjectPrompt
from .tracking.sam2_networks import EXTRA, PACKAGE_EXTRA, TransformersNetwork, choose_device
from .tracking.sam2_package import PackageNetwork

VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""


@dataclass(frozen=True, kw_only=True)
class Sam2(CheckedSettings):
    """Track prompted subjects through the clip, both ways, with SAM 2 or a network of its family."""

    operational: ClassVar[frozenset[str]] = frozenset({"device"})
    """Settings of where it runs, which enter no key of a result."""
    kind: Literal["sam2"] = "sam2"
    model: str = "facebook/sam2.1-hiera-large"
    """A folder, or a hub repository: facebook/sam2.1-hiera-tiny, -small, -base-plus, -large, or an EdgeTAM; door
    "package" also takes a .pt file."""
    revision: str | None = None
    """Commit, tag or branch of the repository; None is main, and its commit is recorded."""
    door: Literal["transformers", "package"] = "transformers"
    """Library that runs it; "package" is `sam2` with its own checkpoints."""
    device: str = "auto"
    """"cuda", "cuda:1", "cpu"; "auto" takes the first GPU there is."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Numbers to compute with; bfloat16 takes half the memory."""
    max_prompted_frames: Annotated[int, InRange(1, 64)] = 8
    """Prompted frames that a frame is compared with, the nearest in time; each costs time and memory in every frame."""
    check_directions: bool = True
    """Track back from the clip's ends to the prompts and compare: takes as long again, and is the one sign of a mask
    that slid on to something else."""
    doubt_below: Annotated[float, InRange(0.0, 1.0)] = 0.5
    """Frames with a lower confidence are named in the notes, with what is wrong."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.door == "package" and self.dtype != "float32":
            raise ValueError(f"dtype={self.dtype} is for door='transformers'; the package computes in float32")

    required_memory_bytes: ClassVar[int] = 2_500_000_000
    """Bytes that the large model took of a processor's memory, 0.9 GB of them weights."""
    required_gpu_bytes: ClassVar[int] = 2_000_000_000
    """The same less the libraries' own 0.8 GB, rounded up: without a GPU of that size it is slow."""

    @property
    def required_packages(self) -> Mapping[str, str]:
        """Modules to the extras that bring them."""
        modules = dict.fromkeys(("torch", "torchvision", "transformers"), EXTRA)
        return {"torch": EXTRA, "sam2": PACKAGE_EXTRA} if self.door == "package" else modules

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The checkpoint."""
        parts = ("*.pt",) if self.door == "package" else ("config.json", "*.safetensors", "*processor_config.json")
        return (WeightsRef(model=self.model, revision=self.revision, parts=parts),)

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Track the subject, and the clip's other prompted subjects beside it.

        Raises:
            ValueError: no point, box or key mask, one outside the clip, or the network saw nothing there.
            WeightsNotFound: the weights are not on this machine.
            SegmenterUnavailable: they cannot be loaded or run here.
        """
        prompts = (prompt, *(other for other in prompt.others if other.frames))
        for subject_prompt in prompts:
            check_prompt(gt, subject_prompt)
        local, device = find_weights(self.required_weights[0]), choose_device(self.device)
        network = load_network(local, self.door, device, self.dtype, self.max_prompted_frames)
        subject, *others = track_objects(network, gt, prompts, check=self.check_directions)
        others_matte = np.maximum.reduce([other.matte for other in others]) if others else None
        if not (subject.matte > 127).any():
            frames = ", ".join(map(str, prompt.frames))
            raise ValueError(
                f"sam2 sees no subject at the prompt in frame {frames}; put points on its middle, add a box, or give a "
                "key mask"
            )
        checks = plausibility(gt, subject.matte) | {
            "the network predicts a poor overlap": subject.predicted_iou,
            "tracked forwards and backwards it is not the same": subject.agreement,
            "it vanishes inside the picture": disappearance(subject.matte),
            "it lies on another subject of the clip": overlap_with_others(subject.matte, others_matte),
        }
        track = weigh_checks(subject.matte, checks, self.doubt_below)
        return replace(track, others=others_matte, model={"id": local.id, "revision": local.version})


def check_prompt(gt: Rgb, prompt: SubjectPrompt) -> None:
    """Refuse a prompt that says nothing or lies outside the clip.

    Raises:
        ValueError: in one sentence with the remedy.
    """
    length, height, width = gt.shape[:3]
    if not prompt.frames:
        advice = "; a noun alone is for subject.kind=sam3" if prompt.text else ""
        advice = "; with a mask for every frame take subject.kind=provided" if prompt.masks is not None else advice
        raise ValueError(f"there is no point, box or key mask to start from; give --point X,Y with --at{advice}")
    for frame in prompt.frames:
        if not 0 <= frame < length:
            raise ValueError(
                f"the prompt of frame {frame} lies outside the clip of {length} frames; give 0 to {length - 1}"
            )
    for frame, points in prompt.points.items():
        for point in points:
            if not (-0.5 <= point.x < width - 0.5 and -0.5 <= point.y < height - 0.5):
                raise ValueError(
                    f"the point {point.x:g},{point.y:g} of frame {frame} lies outside the picture of {width}x{height}; "
                    "give X,Y in pixels of it"
                )
    for frame, key in prompt.keys.items():
        if key.shape != (height, width) or (key > 127).all():
            raise ValueError(
                f"the key mask of frame {frame} is full, or not {height}x{width}; mark the subject alone, at its size"
            )
    # An empty key among others says that the subject is not there.
    if not (prompt.points or prompt.boxes or any((key > 127).any() for key in prompt.keys.values())):
        raise ValueError("the key masks are all empty; mark the subject in at least one frame")


@lru_cache(maxsize=1)
def load_network(local: LocalModel, door: str, device: str, dtype: str, max_prompted_frames: int) -> TrackingModel:
    """Load a network, kept in this process.

    Raises:
        SegmenterUnavailable: its files cannot be loaded, or it cannot run here.
    """
    if door == "package":
        return PackageNetwork(local, device, max_prompted_frames)
    return TransformersNetwork(local, device, dtype, max_prompted_frames)
