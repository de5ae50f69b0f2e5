"""The casper backend: a video model removes subject and effects, an optimisation finds alpha and foreground.

Generative Omnimatte's way, with its weights (Casper) or any of that kind. A clip with one subject takes one run of the
model. With other subjects it takes three: without this subject (the background of the pair, where the others stay),
without any, and with this subject alone ("solo"); alpha is found between the last two, where nothing else moves. The
model returns every pixel anew, so only where subject and effects are does its picture replace the clip.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np

from ...arrays import Mask, Matte, Rgb
from ...settings import CheckedSettings, InRange
from ...stages.alignment.scale_and_shift import measure_correlation
from ...stages.decompose import ExternalLayers, Layers, check_subject
from ...stages.external import far_from_subject, match_tone, put_back
from ...weights import LocalModel, WeightsRef, find_weights
from .omnimatte import OmnimatteSettings, optimise, transfer_detail

VERSION = 2
REMOVE, UNDECIDED, KEEP = 0, 128, 255
"""Values of a trimask: what goes with its effects, what the model decides, what stays with its effects."""
MASK_THRESHOLD = 240
"""Coverage from which a pixel is of a mask, as in Casper's training; dilation brings soft edges back."""
BASE_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
"""Folders of a base model."""


@dataclass(frozen=True, kw_only=True)
class Casper(CheckedSettings):
    """Decompose by a removal model and the omnimatte optimisation; wants a GPU."""

    operational: ClassVar[frozenset[str]] = frozenset({"device"})
    """Settings of where it runs, which enter no key of a result."""
    kind: Literal["casper"] = "casper"
    weights: str = "casper.safetensors"
    """File of the removal transformer: Casper's for CogVideoX-Fun V1.5 5B or Wan2.1 Fun 1.3B, or its LoRA for 14B."""
    base: str = "alibaba-pai/CogVideoX-Fun-V1.5-5b-InP"
    """Base model, which brings text encoder and autoencoder: a folder or a hub name; for Casper on Wan 1.3B
    Wan-AI/Wan2.1-T2V-1.3B-Diffusers."""
    revision: str | None = None
    """Commit, tag or branch of the base; None takes what was fetched as main."""
    lora_base: str | None = None
    """File or folder of the transformer that a LoRA changes, e.g. Wan2.1-Fun-14B-InP; None takes the base's."""
    lora_weight: Annotated[float, InRange(0.0, 4.0)] = 1.0
    prompt: str = "a video of a clean and beautiful background."
    """Sentence about the background alone, as the model was trained: never about what is removed."""
    steps: Annotated[int, InRange(1, 1000)] = 50
    guidance: Annotated[float, InRange(0.0, 100.0)] = 1.0
    """1 asks the model once a step, as published."""
    seed: int = 43
    window_frames: int | None = None
    """Frames that the model takes at once; None: 85 with CogVideoX, 81 with Wan. Longer clips go in windows."""
    overlap_frames: Annotated[int, InRange(0, 256)] = 16
    """Frames that a window shares with the next."""
    dilate_px: Annotated[int, InRange(0, 64)] = 5
    """Radius of the square by which masks are widened, in pixels of the clip: 5 is the 11x11 square of the training."""
    solo: bool = True
    """With other subjects in the clip, find alpha between two more runs; false finds it against them in the clip."""
    omnimatte: OmnimatteSettings = OmnimatteSettings()
    device: str = "auto"
    """auto: the GPU where there is one."""
    required_packages: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("torch", "diffusers", "transformers", "accelerate", "safetensors"), "train"
    )
    required_memory_bytes: ClassVar[int] = 12 * 10**9
    """Bytes of 5.6 billion 16-bit weights and the autoencoder, read before they go to a GPU."""
    required_gpu_bytes: ClassVar[int] = 16 * 10**9
    """Bytes of those weights, and of a window's activations, 4.4 GB by the estimate for training; not measured."""

    def __post_init__(self) -> None:
        """Check the ranges, and what windows and prompt have to be."""
        super().__post_init__()
        if not self.prompt.strip():
            raise ValueError(
                "casper.prompt is empty; describe the background alone, e.g. 'a video of a beautiful park.'"
            )
        if self.window_frames is not None and (self.window_frames < 5 or self.window_frames % 4 != 1):
            raise ValueError(
                f"casper.window_frames={self.window_frames} is not 4k+1 from 5; give 85 (CogVideoX: 8k+5) or 81 (Wan)"
            )
        if self.overlap_frames % 8 or 2 * self.overlap_frames > (self.window_frames or 81) + 3:  # 4k+1 are k+1 latents
            raise ValueError(
                f"casper.overlap_frames={self.overlap_frames} is not a multiple of 8 of at most half a window; give 16"
            )

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """Transformer, base model, and the transformer that a LoRA changes."""
        remedy = (
            "download one of Casper's files (see the README of gen-omnimatte/gen-omnimatte-public) and give its path"
        )
        files = [WeightsRef(model=self.weights, parts=(), remedy=f"{remedy} as decompose.weights")]
        if self.lora_base:
            remedy = "give the file or folder of the transformer that the LoRA changes as decompose.lora_base"
            files.append(WeightsRef(model=self.lora_base, parts=(), remedy=remedy))
        return (*files, WeightsRef(model=self.base, revision=self.revision, parts=BASE_PARTS))

    def decompose(
        self, gt: Rgb, subject_mask: Matte, other_subjects: Mask | None, external: ExternalLayers | None
    ) -> Layers:
        """Take the subject and its effects out of gt; other subjects stay in the background, external is not used.

        Raises:
            ValueError: the subject mask is of another size than gt, or empty or full in every frame.
            WeightsNotFound: weights or base model are not on this machine.
            UnusableWeights: the weights are damaged or of another model.
            TooLittleMemory: model or clip do not fit.
        """
        check_subject(gt, subject_mask)
        models = [find_weights(ref) for ref in self.required_weights]
        from .remover import explain_failures  # torch and diffusers stand in its head

        with explain_failures(gt.shape[:3], self._device()):
            layers = self.decompose_with(self._load(models), gt, subject_mask, other_subjects)
        return replace(layers, models=tuple({"id": model.id, "revision": model.version} for model in models))

    def decompose_with(self, remover: Any, gt: Rgb, subject_mask: Matte, other_subjects: Mask | None) -> Layers:
        """Decompose by any removal model: `remover.remove(gt, trimask, prompt)` returns the clip without what goes."""
        subject = widen(subject_mask >= MASK_THRESHOLD, self.dilate_px)
        others = widen(np.zeros_like(subject) if other_subjects is None else other_subjects, self.dilate_px)

        def remove(keep: Mask, leave: Mask) -> Rgb:
            removed: Rgb = remover.remove(gt, build_trimask(keep, leave), self.prompt)
            return removed

        plates, tone_change = match_tone(gt, remove(others, subject), far_from_subject(subject_mask) & ~others)
        observed, empty = gt, plates
        if self.solo and others.any():
            observed, empty = remove(subject, others), remove(np.zeros_like(subject), subject | others)
        matte = optimise(observed, empty, subject_mask, self.omnimatte, device=self._device())
        background, region, facts = put_back(gt, plates, subject_mask, other_subjects)
        facts |= {
            "layer_correlation": measure_correlation(gt, plates, subject_mask),
            "layer_tone": tone_change,
            "omnimatte_psnr_db": matte.reconstruction_psnr_db,
        }
        alpha = np.where(region, np.maximum(matte.alpha, subject_mask), 0).astype(np.uint8)
        foreground = transfer_detail(gt, matte, subject_mask)
        return Layers(
            background=background,
            foreground=np.where((alpha > 0)[..., None], foreground, background),
            alpha=alpha,
            facts=facts,
        )

    def _device(self) -> str:
        from ..base.models import select_device

        return select_device(self.device)

    def _load(self, models: list[LocalModel]) -> Any:
        from .remover import RemovalSettings, load_remover

        weights, *lora_base, base = (model.path for model in models)
        names = ("lora_weight", "steps", "guidance", "seed", "window_frames", "overlap_frames", "device")
        values = {name: getattr(self, name) for name in names}
        return load_remover(
            RemovalSettings(weights=weights, base=base, lora_base=lora_base[0] if lora_base else None, **values)
        )


def build_trimask(keep: Mask, remove: Mask) -> Matte:
    """Trimask of what stays and what goes; what is both goes."""
    trimask = np.full(keep.shape, UNDECIDED, np.uint8)
    trimask[keep] = KEEP
    trimask[remove] = REMOVE
    return trimask


def widen(mask: Mask, radius_px: int) -> Mask:
    """Dilate a mask by a square."""
    kernel = np.ones((2 * radius_px + 1,) * 2, np.uint8)
    return np.stack([cv2.dilate(frame.view(np.uint8), kernel).view(bool) for frame in mask])
