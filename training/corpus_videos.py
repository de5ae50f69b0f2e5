"""Videos of a corpus's clips by one model, as a benchmark asks for them: one a clip, FOLDER/CLIP_ID.mkv.

Each video has its key beside it, of all that it depends on: the clip's layers and caption, the model's weights and the
settings. One that is there under its key is not made again, so what was cut off goes on, and shares can be made on
several devices at once: the noise of a clip is that of the seed, whatever else is made.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from pydantic import TypeAdapter

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import open_corpus
from ..datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from ..digests import digest_of_file
from ..untrusted_input import path_within
from .base.conditioning import mask_from_keyframes
from .base.lora import lora_file
from .base.models import locate_model
from .base.shares import run_shares, share_count
from .benchmark.pinned import check_pinned, read_benchmark
from .generate import DeviceSettings, TrainedOn, base_model, load_pipeline, read_training
from .latents.encode_plan import resize_frames
from .results import is_sampled, write_sample
from .sampling.pipeline import PipelineInput
from .sampling.sample import SamplingSettings

Mode = Literal["mask", "nomask", "keyframes", "text"]
RECORD = "generate.json"
"""File in the folder that says what all its videos were made with."""


@dataclass(frozen=True, kw_only=True)
class CorpusVideos:
    """Clips to make videos of, and how."""

    corpus: str
    clip_ids: tuple[str, ...]
    folder: Path
    model: DeviceSettings
    sampling: SamplingSettings
    mode: Mode = "mask"
    """mask: the whole effect mask. nomask: none, the model decides. keyframes: the masks of a few frames. text: the
    caption alone, without a composite."""
    keyframes: int = 3
    """Number of keyframes, evenly spaced from the first frame to the last."""
    negative: str = ""
    size: tuple[int, int] | None = None
    """Height and width; None takes those that the model was trained at."""

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes={self.keyframes} is below 1; give at least one, or take the mode nomask")


def choose_request(corpus_url: str, split: str, benchmark: Path | None, mode: str, **values: Any) -> CorpusVideos:
    """Choose a request's clips: the pairs of a split, or those of a benchmark; `values` are its other fields.

    Raises:
        ValueError: there is no such mode or no pair, or a pinned clip is gone, changed or in training.
        FileNotFoundError: there is no such corpus.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"--mode {mode} is none of {', '.join(get_args(Mode))}")
    corpus = open_corpus(corpus_url)
    if benchmark is not None:
        pinned = read_benchmark(benchmark)
        check_pinned(pinned, corpus)
        clip_ids = pinned.clip_ids
    else:
        rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
        pairs = [row for row in rows if row["kind"] != "unpaired"]
        clip_ids = tuple(row["clip_id"] for row in pairs if row["split"] == split)
        if not clip_ids:
            splits = ", ".join(sorted({row["split"] for row in pairs})) or "none"
            raise ValueError(f"{corpus_url} has no pair of split {split}; splits with pairs: {splits}")
    return CorpusVideos(corpus=corpus_url, clip_ids=clip_ids, mode=cast(Mode, mode), **values)


def open_folder(request: CorpusVideos) -> None:
    """Write into the folder what its videos are made with, before the first is.

    Raises:
        ValueError: it holds videos that were made with something else, which is named.
        WeightsNotFound: the base model is not on this machine.
        CannotWrite: the disk is full.
    """
    record = json.loads(json_bytes(_recipe(request)))
    path = request.folder / RECORD
    try:
        present = json.loads(path.read_text()) if path.exists() else record
        difference = next((name for name in record if present.get(name) != record[name]), None)
    except (ValueError, AttributeError):
        difference = "record, which is damaged"
    if difference is not None:
        raise ValueError(f"{request.folder} holds videos made with another {difference}; choose a new folder for these")
    atomic_write(path, json_bytes(record))


def make_corpus_videos(
    request: CorpusVideos, processes: int = 1, report: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Make all videos of a request, with so many programs side by side (0: one a GPU); `report` counts the clips.

    Raises:
        ValueError: the folder holds other videos, or a clip or the weights do not fit the model.
        WeightsNotFound: the base model is not on this machine.
        ProgramFailed: one of several programs ended with an error; videos that are done stay.
    """
    open_folder(request)
    total, finished, count = len(request.clip_ids), 0, share_count(processes)
    report(0, total)
    if count == 1:
        for finished, _ in enumerate(make_videos(request), start=1):
            report(finished, total)
        return

    def count_line(line: str) -> None:
        nonlocal finished
        if line.startswith("sampled "):
            finished += 1
            report(finished, total)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "request.json")
        file.write_bytes(json_bytes(TypeAdapter(CorpusVideos).dump_python(request, mode="json")))
        bind_gpus = request.model.device == "auto"
        run_shares(["videos", str(file)], count, request.folder / "generate.log", count_line, bind_gpus=bind_gpus)


def read_request(file: Path) -> CorpusVideos:
    """Read the request that `make_corpus_videos` wrote for its programs."""
    request: CorpusVideos = TypeAdapter(CorpusVideos).validate_json(file.read_bytes())
    return request


def make_videos(request: CorpusVideos, share: tuple[int, int] = (0, 1)) -> Iterator[str]:
    """Make the videos of a share (number, of how many) of the clips; yield each clip's id when its video is there.

    Raises:
        ValueError: the trained weights are missing or of another model, or a clip does not fit the model.
        WeightsNotFound: the base model is not on this machine.
        CannotWrite: the disk is full.
    """
    corpus, recipe, trained_on = open_corpus(request.corpus), _recipe(request), read_training(request.model)
    if trained_on.task.removes:
        raise ValueError(
            "the model was trained to remove, and --corpus asks for effects; name another, or give --video"
        )
    pipeline = None
    for clip_id in request.clip_ids[share[0] :: share[1]]:
        clip = corpus.clip(clip_id)
        layers = [hashlib.sha256(clip.encoded(name) or b"").hexdigest() for name in ("over", "effect_mask")]
        key = digest_of([recipe, clip_id, clip.caption, clip.num_frames, layers])
        path = path_within(request.folder, f"{clip_id}.mkv")
        if not is_sampled(path, key):
            pipeline = pipeline or load_pipeline(request.model)
            video = pipeline(clip_input(clip, request, trained_on), request.sampling)
            write_sample(path, video, key=key, caption=clip.caption, fps=clip.fps)
        yield clip_id


def clip_input(clip: Clip, request: CorpusVideos, trained_on: TrainedOn) -> PipelineInput:
    """Input of the model for a clip, in the mode of the request."""
    size = request.size or trained_on.size
    texts: Any = {"prompt": clip.caption or "", "negative": request.negative}
    if request.mode == "text":
        return PipelineInput(**texts, shape=(clip.num_frames, *size))
    over: Any = resize_frames(clip.decode("over"), size)  # type: ignore[arg-type]
    if request.mode == "nomask":
        return PipelineInput(**texts, over=over)
    mask = resize_frames(clip.decode("effect_mask"), size)  # type: ignore[arg-type]
    if request.mode == "mask":
        return PipelineInput(**texts, over=over, effect_mask=mask, mask_downsample=trained_on.mask_downsample)
    frames = np.linspace(0, len(mask) - 1, request.keyframes).round().astype(int)
    images = {int(frame): mask[frame].astype(np.float32) for frame in frames}
    keyframes = mask_from_keyframes(images, len(mask), trained_on.grid)
    return PipelineInput(**texts, over=over, effect_mask=keyframes, mask_downsample="max")


def _recipe(request: CorpusVideos) -> dict[str, Any]:
    """All that a video depends on beside its clip."""
    names = ("mode", "negative", "size") + (("keyframes",) if request.mode == "keyframes" else ())
    weights: dict[str, Any] = {"base": locate_model(base_model(request.model)).version}
    for name, value in vars(request.model).items():
        if isinstance(value, Path):
            files = [value] if value.is_file() else sorted(value.rglob("*.safetensors"))
            weights[name] = [digest_of_file(file) for file in files]
    if request.model.lora is not None:
        weights["lora"] = [digest_of_file(lora_file(request.model.lora.path)), request.model.lora.factor]
    return {name: getattr(request, name) for name in names} | {"sampling": asdict(request.sampling), "weights": weights}
