"""SAM 2 and its relatives as networks to track with: by transformers, or by the `sam2` package.

Both get frames one by one, so that no clip is ever held as normalised floats: 1024x1024 of a frame are 12.6 MB, 2,000
frames 25 GB. After each frame the outputs that the network's memory no longer reaches are dropped; neither library does
that itself. It looks back on `num_maskmem` masks and, by small vectors, on `max_object_pointers_in_encoder` frames:
dropping after the first alone would change the masks. What is kept lies in main memory, not on the GPU.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import MatteImage, Rgb
from ...extras import require
from ...weights import LocalModel
from .prompted_tracking import FrameMask
from .prompts import PromptBox, PromptPoint

EXTRA = "models"
PACKAGE_EXTRA = "sam2"
"""Extra that brings the package, and timm, which EdgeTAM's image encoder is made with."""
FAMILIES = {
    "sam2_video": ("Sam2VideoModel", "Sam2VideoProcessor"),
    "edgetam_video": ("EdgeTamVideoModel", "Sam2VideoProcessor"),
    "sam3_tracker_video": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
    "sam3_video": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
}
"""Classes of transformers by the `model_type` of a checkpoint's config.json; SAM 3 as a whole holds its tracker."""
PACKAGE_CONFIGS = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
"""Sizes in names of checkpoints to those in names of the package's configs."""


class SegmenterUnavailable(RuntimeError):
    """A network cannot be used here; the message names its file and the way out."""

    is_sentence = True
    is_unavailable = True


def choose_device(device: str) -> str:
    """Return the device that "auto" stands for: the first GPU, else the processor."""
    return ("cuda" if require("torch", extra=EXTRA).cuda.is_available() else "cpu") if device == "auto" else device


@contextmanager
def network_errors(model: str, device: str) -> Iterator[None]:
    """Turn a lack of memory and a device that is not there into one sentence each.

    Raises:
        SegmenterUnavailable: instead of either.
    """
    try:
        yield
    except (MemoryError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:160]
        if isinstance(error, MemoryError) or "memory" in reason.lower():
            raise SegmenterUnavailable(
                f"{model}: too little memory on {device} ({reason}); take a smaller model, such as "
                "facebook/sam2.1-hiera-tiny, set subject.device='cpu', or end other programs"
            ) from error
        if "cuda" in reason.lower() or "nvidia" in reason.lower():
            raise SegmenterUnavailable(
                f"{model}: cannot run on {device} ({reason}); set subject.device='cpu' or mend the driver"
            ) from error
        raise


def damaged_weights(model: str, path: Path, reason: Any) -> SegmenterUnavailable:
    """Return the sentence about weights that a library refused."""
    text = " ".join(str(reason).split())[:200]
    return SegmenterUnavailable(
        f"{model}: cannot be loaded from {path} ({text}); its weights are cut off, damaged, or of another size or "
        "architecture than its configuration says: fetch the whole model again, or correct the name"
    )


class LazyFrames:
    """Normalised frames of a clip by index, made when they are asked for and not kept."""

    def __init__(self, gt: Rgb, normalise: Any) -> None:
        self._gt = gt
        self._normalise = normalise

    def __len__(self) -> int:
        return len(self._gt)

    def __getitem__(self, frame: int) -> Any:
        return self._normalise(self._gt[frame : frame + 1])


class PredictedIou:
    """The overlap that a mask decoder last predicted of its best mask, by a hook on it."""

    def __init__(self, decoder: Any) -> None:
        self.value = 1.0
        decoder.register_forward_hook(self._record)

    def _record(self, decoder: Any, inputs: Any, outputs: Any) -> None:
        self.value = float(outputs[1].float().max())


def load_pretrained(local: LocalModel, network: str, processor: str, dtype: Any, device: str) -> tuple[Any, Any]:
    """Load a network and its processor, by the names of their classes in transformers, without asking the hub.

    Raises:
        SegmenterUnavailable: files are damaged, hold another network, or do not fit into memory.
    """
    library = require("transformers", extra=EXTRA)
    library.utils.logging.disable_progress_bar()
    options = {"local_files_only": True, "use_safetensors": True, "dtype": dtype, "output_loading_info": True}
    try:
        model, loading = getattr(library, network).from_pretrained(local.path, **options)
        preparation = getattr(library, processor).from_pretrained(local.path, local_files_only=True)
    except ImportError as error:
        reason = " ".join(str(error).split())[:200]
        raise SegmenterUnavailable(f"{local.id}: {reason}; pip install 'effectpairs[{PACKAGE_EXTRA}]'") from error
    except Exception as error:  # safetensors and transformers have many classes for damaged files, none in common
        raise damaged_weights(local.id, local.path, error) from error
    wrong = sorted(loading["missing_keys"]) + sorted(map(str, loading["mismatched_keys"]))
    if wrong:
        reason = f"{len(wrong)} of its weights are missing or of another shape, such as {wrong[0]}"
        raise damaged_weights(local.id, local.path, reason)
    with network_errors(local.id, device):
        return model.to(device).eval(), preparation


def normalise_frame(processor: Any, frame: Rgb) -> Any:
    """One frame [1, H, W, 3] as [3, S, S], by the mean, deviation and size of the checkpoint."""
    return processor.video_processor(videos=frame, return_tensors="pt").pixel_values_videos[0][0]


class TransformersNetwork:
    """A network of transformers."""

    def __init__(self, local: LocalModel, device: str, dtype: str, max_prompted_frames: int) -> None:
        self._torch = require("torch", extra=EXTRA)
        self.name, self.device, self._dtype = local.id, device, getattr(self._torch, dtype)
        self.model, self.processor = load_pretrained(local, *_family(local), self._dtype, device)
        self.model.config.max_cond_frame_num = max_prompted_frames
        self.predicted_iou = PredictedIou(self.model.mask_decoder)

    def open_sessions(self, gt: Rgb, count: int) -> tuple["TransformersSession", ...]:
        """Open sessions that share normalised frames and image features."""
        sessions = tuple(TransformersSession(self, gt) for _ in range(count))
        for session in sessions[1:]:
            session.state.processed_frames = sessions[0].state.processed_frames
            session.state.cache = sessions[0].state.cache
        return sessions

    def normalise(self, frame: Rgb) -> Any:
        """One frame as the network takes it, in its numbers."""
        return normalise_frame(self.processor, frame).to(self._dtype)


class TransformersSession:
    """One subject in a session of its own, so that no other changes its masks."""

    def __init__(self, network: TransformersNetwork, gt: Rgb) -> None:
        self._network = network
        self.state = network.processor.init_video_session(
            inference_device=network.device,
            inference_state_device="cpu",
            processing_device="cpu",
            video_storage_device="cpu",
            dtype=network._dtype,
        )
        self.state.video_height, self.state.video_width = gt.shape[1:3]
        self.state.processed_frames = LazyFrames(gt, network.normalise)
        self._prompted_iou: dict[int, float] = {}

    def add_prompt(
        self, frame: int, mask: MatteImage | None, points: Sequence[PromptPoint], box: PromptBox | None
    ) -> None:
        """Take in a mask, or points and a box, of one frame."""
        inputs: dict[str, Any] = {"input_masks": None if mask is None else mask > 127}
        if mask is None:
            if points:
                inputs["input_points"] = [[[[float(point.x), float(point.y)] for point in points]]]
                inputs["input_labels"] = [[[int(point.is_subject) for point in points]]]
            if box is not None:
                inputs["input_boxes"] = [[corners_of(box)]]
        self._network.processor.add_inputs_to_inference_session(self.state, frame_idx=frame, obj_ids=1, **inputs)
        self._infer(frame, reverse=False)
        self._prompted_iou[frame] = 1.0 if mask is not None else self._network.predicted_iou.value

    def track(self, frames: range) -> Iterator[FrameMask]:
        """Yield the subject's logits frame by frame."""
        for frame in frames:
            output = self._infer(frame, reverse=frames.step < 0)
            iou = self._prompted_iou.get(frame, self._network.predicted_iou.value)
            logits = output.pred_masks[0, 0].float().cpu().numpy()
            yield to_frame_mask(logits, iou, float(output.object_score_logits.max()), self._network.name)
            self._forget(frame, frames.step)

    def _infer(self, frame: int, *, reverse: bool) -> Any:
        with self._network._torch.inference_mode(), network_errors(self._network.name, self._network.device):
            return self._network.model(self.state, frame_idx=frame, reverse=reverse)

    def _forget(self, frame: int, step: int) -> None:
        config = self._network.model.config
        reach = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        outputs = self.state.output_dict_per_obj[0]
        drop_outputs(
            outputs["non_cond_frame_outputs"], self.state.frames_tracked_per_obj[0], frame - step * reach, step
        )
        for kept in (*outputs["cond_frame_outputs"].values(), *outputs["non_cond_frame_outputs"].values()):
            kept.pop("high_res_masks", None)  # 4 MB a frame, of no use once the memory is encoded


def to_frame_mask(logits: np.ndarray, predicted_iou: float, object_score: float, model: str) -> FrameMask:
    """Build an answer; a subject that the network does not see has no overlap to predict.

    Raises:
        SegmenterUnavailable: the network gave what is no number.
    """
    if not np.isfinite(logits).all():
        raise SegmenterUnavailable(f"{model}: its masks are no numbers; fetch it again, or set subject.dtype='float32'")
    iou = 1.0 if object_score <= 0 else min(max(predicted_iou, 0.0), 1.0)
    return FrameMask(logits=logits.astype(np.float32), predicted_iou=iou)


def drop_outputs(outputs: dict[int, Any], tracked: dict[int, Any], limit: int, step: int) -> None:
    """Drop the outputs of frames at limit and before it, in the direction of step."""
    for frame in [frame for frame in outputs if (frame - limit) * step <= 0]:
        del outputs[frame]
    for frame in [frame for frame in tracked if (frame - limit) * step <= 0]:
        del tracked[frame]


def corners_of(box: PromptBox) -> list[float]:
    """Left, top, right and bottom of a box."""
    x, y, width, height = box
    return [float(x), float(y), float(x + width), float(y + height)]


def _family(local: LocalModel) -> tuple[str, str]:
    try:
        kind = json.loads((local.path / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise SegmenterUnavailable(
            f"{local.id}: {local.path} has no readable config.json; name the folder of a whole model, or set "
            "subject.door='package' for a .pt checkpoint"
        ) from error
    if kind not in FAMILIES:
        raise SegmenterUnavailable(
            f"{local.id}: is a {kind!r} and tracks nothing; name a model of {', '.join(FAMILIES)}, such as "
            "facebook/sam2.1-hiera-large"
        )
    return FAMILIES[kind]
