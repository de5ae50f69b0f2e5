"""The subject by SAM 3, from a noun: "camel", "red car", "person on a bicycle".

All things that the noun fits are one subject together; to choose among them, prompt `sam2` with a point. The confidence
of a frame is the worst of what `provided` checks on any mask, of the network's own scores, and of a subject that
vanishes inside the picture. The weights (facebook/sam3, SAM License) are given out on request only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ..arrays import Matte, PerFrame, Rgb
from ..extras import require
from ..settings import CheckedSettings, InRange
from ..weights import LocalModel, WeightsRef, find_weights
from .subject import SubjectTrack, plausibility, weigh_checks
from .tracking.prompted_tracking import disappearance, to_matte
from .tracking.prompts import SubjectPrompt
from .tracking.sam2_networks import (
    EXTRA,
    LazyFrames,
    choose_device,
    drop_outputs,
    load_pretrained,
    network_errors,
    normalise_frame,
    to_frame_mask,
)

VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""
GATED = "ask for access on its page at the hub, then: hf download facebook/sam3, or give its folder as subject.model"
MAX_NOUN = 60
"""Characters of a noun: the text encoder holds 30 pieces of words, and English has at least two letters a piece."""


@dataclass(frozen=True, kw_only=True)
class Sam3(CheckedSettings):
    """Find what a noun names in every frame, with SAM 3."""

    required_packages: ClassVar[Mapping[str, str]] = dict.fromkeys(("torch", "torchvision", "transformers"), EXTRA)
    operational: ClassVar[frozenset[str]] = frozenset({"device"})
    """Settings of where it runs, which enter no key of a result."""
    kind: Literal["sam3"] = "sam3"
    model: str = "facebook/sam3"
    """A folder, or a hub repository."""
    revision: str | None = None
    """Commit, tag or branch of the repository; None is main, and its commit is recorded."""
    text: str = ""
    """Noun for subjects whose own prompt has none."""
    device: str = "auto"
    """"cuda", "cuda:1", "cpu"; "auto" takes the first GPU there is."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Numbers to compute with; bfloat16 takes half the memory."""
    doubt_below: Annotated[float, InRange(0.0, 1.0)] = 0.5
    """Frames with a lower confidence are named in the notes, with what is wrong."""

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The checkpoint."""
        parts = ("config.json", "*.safetensors", "*processor_config.json", "tokenizer*.json")
        remedy = GATED if self.model == "facebook/sam3" else ""
        return (WeightsRef(model=self.model, revision=self.revision, parts=parts, remedy=remedy),)

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Find what the prompt's noun names, and beside it what the nouns of the clip's other subjects name.

        Raises:
            ValueError: no noun, or nothing of that name in the clip.
            WeightsNotFound: the weights are not on this machine.
            SegmenterUnavailable: they cannot be loaded or run here.
        """
        noun = prompt.text or self.text
        if not noun:
            raise ValueError(
                'there is no noun to look for; give --text NOUN, "text" in the prompts file, or subject.text'
            )
        if len(noun) > MAX_NOUN:
            raise ValueError(
                f"the noun {noun[:20]!r}... is {len(noun)} characters long; name the subject in {MAX_NOUN}"
            )
        nouns = (noun, *(other.text for other in prompt.others if other.text not in ("", noun)))
        local, device = find_weights(self.required_weights[0]), choose_device(self.device)
        network = _load(local, device, self.dtype)
        mattes, scores, counts = network.find(gt, nouns)
        if not (mattes[0] > 127).any():
            raise ValueError(f"sam3 finds no {noun!r} in this clip; try another noun, or give a point to sam2")
        checks = plausibility(gt, mattes[0]) | {
            "the network is not sure of it": scores,
            "it vanishes inside the picture": disappearance(mattes[0]),
        }
        notes = (f"sam3 found {counts} things that it calls {noun!r}; they are one subject.",) if counts > 1 else ()
        track = weigh_checks(mattes[0], checks, self.doubt_below, notes)
        others = np.maximum.reduce(mattes[1:]) if len(mattes) > 1 else None
        return replace(track, others=others, model={"id": local.id, "revision": local.version})


class TextNetwork:
    """SAM 3 of transformers with its detector and tracker."""

    def __init__(self, local: LocalModel, device: str, dtype: str) -> None:
        self._torch = require("torch", extra=EXTRA)
        self.name, self.device, self._dtype = local.id, device, getattr(self._torch, dtype)
        self.model, self.processor = load_pretrained(local, "Sam3VideoModel", "Sam3VideoProcessor", self._dtype, device)

    def find(self, gt: Rgb, nouns: Sequence[str]) -> tuple[list[Matte], PerFrame, int]:
        """Return a matte for each noun, the least score of the first noun's things per frame, and their number."""
        state = self.processor.init_video_session(
            inference_device=self.device,
            inference_state_device="cpu",
            processing_device="cpu",
            video_storage_device="cpu",
            dtype=self._dtype,
        )
        state.video_height, state.video_width = gt.shape[1:3]
        state.processed_frames = LazyFrames(gt, self._normalise)
        with network_errors(self.name, self.device):
            state = self.processor.add_text_prompt(state, list(nouns))
        mattes = [np.zeros(gt.shape[:3], np.uint8) for _ in nouns]
        scores = np.ones(len(gt), np.float32)
        things: set[int] = set()
        for output in self._outputs(state):
            hidden = {*output.suppressed_obj_ids, *state.hotstart_removed_obj_ids}
            for thing, logits in output.obj_id_to_mask.items():
                if thing in hidden:
                    continue
                number = state.obj_id_to_prompt_id[thing]
                score = float(output.obj_id_to_score[thing])
                mask = to_frame_mask(logits.float().cpu().numpy().squeeze(), score, 1.0, self.name)
                matte = to_matte(mask.logits, gt.shape[1:3])
                if number == 0 and (matte > 127).any():
                    things.add(thing)
                    scores[output.frame_idx] = min(scores[output.frame_idx], mask.predicted_iou)
                np.maximum(mattes[number][output.frame_idx], matte, out=mattes[number][output.frame_idx])
        return mattes, scores, len(things)

    def _outputs(self, state: Any) -> Iterator[Any]:
        config = self.model.config.tracker_config
        reach = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        with network_errors(self.name, self.device):
            for output in self.model.propagate_in_video_iterator(state):
                yield output
                for number, outputs in state.output_dict_per_obj.items():
                    # The frames yielded last are held back for a while: the newest frame in memory is the measure.
                    newest = max(outputs["non_cond_frame_outputs"], default=output.frame_idx)
                    tracked = state.frames_tracked_per_obj.get(number, {})
                    drop_outputs(outputs["non_cond_frame_outputs"], tracked, newest - reach, 1)

    def _normalise(self, frame: Rgb) -> Any:
        return normalise_frame(self.processor, frame).to(self._dtype)


_load = lru_cache(maxsize=1)(TextNetwork)
