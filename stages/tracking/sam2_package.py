"""SAM 2 by the `sam2` package, with its own .pt checkpoints: the second door to the same networks.

The package opens files, shows bars and composes its settings by name; here it gets frames from memory, shows none, and
takes the settings of a checkpoint's size out of its own folder, or from a .yaml beside the checkpoint. Holes in masks
are not filled, which needs its CUDA extension, so both doors give the same masks.
"""

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
from .sam2_networks import (
    EXTRA,
    PACKAGE_CONFIGS,
    PACKAGE_EXTRA,
    LazyFrames,
    PredictedIou,
    SegmenterUnavailable,
    corners_of,
    damaged_weights,
    drop_outputs,
    network_errors,
    to_frame_mask,
)

PREDICTOR = "sam2.sam2_video_predictor"
REMEDY = f"pip install 'effectpairs[{PACKAGE_EXTRA}]', or set subject.door='transformers'"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, as the package's own loader has them."""


@contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Give a name in a module another value for a while."""
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


class PackageNetwork:
    """A predictor of the package."""

    def __init__(self, local: LocalModel, device: str, max_prompted_frames: int) -> None:
        self._torch = require("torch", extra=EXTRA)
        self.name, self.device = local.id, device
        checkpoint = local.path if local.path.is_file() else sorted(local.path.glob("*.pt"))[0]
        config = _config_of(local, checkpoint)
        config.model.max_cond_frames_in_attn = max_prompted_frames
        try:
            weights = self._torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
            with network_errors(local.id, device):
                self.model = require("hydra.utils", extra=EXTRA).instantiate(config.model, _recursive_=True).to(device)
            self.model.load_state_dict(weights)
        except SegmenterUnavailable:
            raise
        except Exception as error:  # torch, zipfile and pickle each have classes of their own for damaged files
            raise damaged_weights(local.id, checkpoint, error) from error
        self.model.eval()
        self.predicted_iou = PredictedIou(self.model.sam_mask_decoder)

    def open_sessions(self, gt: Rgb, count: int) -> tuple["PackageSession", ...]:
        """Open sessions that share normalised frames and image features."""
        features: dict[str, Any] = {}
        return tuple(PackageSession(self, gt, features) for _ in range(count))

    def normalise(self, frame: Rgb) -> Any:
        """One frame as the network takes it: [3, S, S], stretched as by the package's loader."""
        size = (self.model.image_size, self.model.image_size)
        picture = require("PIL.Image", extra=EXTRA).fromarray(frame[0]).resize(size)
        mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
        values = (np.asarray(picture, np.float32) / np.float32(255) - mean) / deviation
        return self._torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


class PackageSession:
    """One subject in a state of its own, so that no other changes its masks."""

    def __init__(self, network: PackageNetwork, gt: Rgb, features: dict[str, Any]) -> None:
        self._network, self._features = network, features
        frames = LazyFrames(gt, network.normalise)
        with replaced(require(PREDICTOR, extra=EXTRA), "load_video_frames", lambda **options: (frames, *gt.shape[1:3])):
            self.state = network.model.init_state("", offload_video_to_cpu=True, offload_state_to_cpu=True)
        self._prompted_iou: dict[int, float] = {}

    def add_prompt(
        self, frame: int, mask: MatteImage | None, points: Sequence[PromptPoint], box: PromptBox | None
    ) -> None:
        """Take in a mask, or points and a box, of one frame."""
        self._share_features()
        with network_errors(self._network.name, self._network.device):
            if mask is not None:
                self._network.model.add_new_mask(self.state, frame, 1, mask > 127)
            else:
                self._network.model.add_new_points_or_box(
                    self.state,
                    frame,
                    1,
                    points=np.array([(point.x, point.y) for point in points], np.float32) if points else None,
                    labels=np.array([point.is_subject for point in points], np.int32) if points else None,
                    box=None if box is None else np.array(corners_of(box), np.float32),
                )
        self._features["last"] = self.state["cached_features"]
        self._prompted_iou[frame] = 1.0 if mask is not None else self._network.predicted_iou.value

    def track(self, frames: range) -> Iterator[FrameMask]:
        """Yield the subject's logits frame by frame."""
        run = self._network.model.propagate_in_video(
            self.state, start_frame_idx=frames[0], max_frame_num_to_track=len(frames) - 1, reverse=frames.step < 0
        )
        predictor = require(PREDICTOR, extra=EXTRA)
        for frame in frames:
            self._share_features()
            no_bar = replaced(predictor, "tqdm", lambda steps, **options: steps)
            with no_bar, network_errors(self._network.name, self._network.device):
                _, _, logits = next(run)
            self._features["last"] = self.state["cached_features"]
            outputs = self.state["output_dict_per_obj"][0]
            known = {**outputs["non_cond_frame_outputs"], **outputs["cond_frame_outputs"]}[frame]
            iou = self._prompted_iou.get(frame, self._network.predicted_iou.value)
            score = float(known["object_score_logits"].max())
            yield to_frame_mask(logits[0, 0].float().cpu().numpy(), iou, score, self._network.name)
            model = self._network.model
            reach = max(model.num_maskmem, model.max_obj_ptrs_in_encoder)
            tracked = self.state["frames_tracked_per_obj"][0]
            drop_outputs(outputs["non_cond_frame_outputs"], tracked, frame - frames.step * reach, frames.step)

    def _share_features(self) -> None:
        """Take the image features that another subject's session made last; of another frame they are passed over."""
        self.state["cached_features"] = self._features.get("last", self.state["cached_features"])


def _config_of(local: LocalModel, checkpoint: Path) -> Any:
    """Settings of the network that a checkpoint was saved from, made for prompting videos.

    Raises:
        SegmenterUnavailable: the package is not there, or its size cannot be told from the checkpoint's name.
    """
    try:
        package, omegaconf = require("sam2", extra=EXTRA), require("omegaconf", extra=EXTRA)
    except ImportError as error:
        raise SegmenterUnavailable(
            f"{local.id}: door 'package' needs sam2, which is not installed; {REMEDY}"
        ) from error
    beside = sorted(checkpoint.parent.glob("*.yaml"))
    version, _, size = checkpoint.stem.partition("_hiera_")
    path = Path(package.__path__[0], "configs", version, f"{version}_hiera_{PACKAGE_CONFIGS.get(size)}.yaml")
    if not path.is_file():
        if len(beside) != 1:
            raise SegmenterUnavailable(
                f"{checkpoint}: its name says no size of SAM 2; name it as it was published "
                "(sam2.1_hiera_large.pt), or put its one .yaml beside it"
            )
        path = beside[0]
    config = omegaconf.OmegaConf.load(path)
    predictor = {
        "_target_": f"{PREDICTOR}.SAM2VideoPredictor",
        "sam_mask_decoder_extra_args": {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
        "binarize_mask_from_pts_for_mem_enc": True,
        "fill_hole_area": 0,
    }
    return omegaconf.OmegaConf.merge(config, {"model": predictor})
