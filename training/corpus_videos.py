"""Videos of a corpus's clips by one model, as a benchmark asks for them: one a clip, FOLDER/CLIP_ID.mkv.

A video's key holds the clip's layers and text, the model's weights and the settings (see `sampling/clip_videos.py`).
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from pydantic import TypeAdapter

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import Corpus, open_corpus
from ..datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from ..digests import digest_of_file
from ..untrusted_input import path_within
from .base.conditioning import mask_from_keyframes
from .base.lora import lora_file
from .base.models import locate_model
from .base.shares import run_shares, share_count
from .benchmark.pinned import check_pinned, read_benchmark
from .generate import DeviceSettings, base_model, load_pipeline, read_training
from .generate_request import TrainedOn
from .latents.encode_plan import CacheSettings, change_mask, resize_frames
from .latents.task import SUBJECT_LEVEL, Task
from .sampling.clip_videos import ClipVideo, make_clip_videos
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
    """mask: the whole effect mask. nomask: none, the model decides; to remove it is shown the subject's all the same.
    keyframes: the masks of a few frames. text: the caption alone, without a composite."""
    keyframes: int = 3
    """Number of keyframes, evenly spaced from the first frame to the last."""
    negative: str = ""
    size: tuple[int, int] | None = None
    """Height and width; None takes those that the model was trained at."""

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes={self.keyframes} is below 1; give at least one, or take the mode nomask")


def choose_request(
    corpus_url: str, split: str, benchmark: Path | None, mode: str, *, model: DeviceSettings, **values: Any
) -> CorpusVideos:
    """Choose a request's clips: the pairs of a split, or those of a benchmark; `values` are its other fields.

    Raises:
        ValueError: there is no such mode or no pair, the model was trained for another task, or a pinned clip is gone,
            changed or in training.
        FileNotFoundError: there is no such corpus.
        WeightsNotFound: the base model is not on this machine.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"--mode {mode} is none of {', '.join(get_args(Mode))}")
    corpus = open_corpus(corpus_url)
    if benchmark is not None:
        pinned, task = read_benchmark(benchmark), read_training(model).task
        if pinned.task.goal != task.goal:
            raise ValueError(
                f"{benchmark} asks to {pinned.task.goal}, and the model learnt to {task.goal}; name another"
            )
        check_pinned(pinned, corpus)
        clip_ids = pinned.clip_ids
    else:
        rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
        pairs = [row for row in rows if row["kind"] != "unpaired"]
        clip_ids = tuple(row["clip_id"] for row in pairs if row["split"] == split)
        if not clip_ids:
            splits = ", ".join(sorted({row["split"] for row in pairs})) or "none"
            raise ValueError(f"{corpus_url} has no pair of split {split}; splits with pairs: {splits}")
    _check_removal(read_training(model).task, mode, corpus, clip_ids)
    return CorpusVideos(corpus=corpus_url, clip_ids=clip_ids, mode=cast(Mode, mode), model=model, **values)


def _check_removal(task: Task, mode: str, corpus: Corpus, clip_ids: Sequence[str]) -> None:
    """Refuse what a model that was trained to remove cannot be asked for; any other model can."""
    if not task.removes:
        return
    if mode not in ("mask", "nomask"):
        raise ValueError(
            f"--mode {mode} is for models that add effects; one that was trained to remove has learnt with the effect "
            "masks of all frames or of none: take --mode mask or nomask"
        )
    absent = set(corpus.ids_without("subject_mask")).intersection(clip_ids)
    if absent:
        raise ValueError(
            f"{corpus.location.url}: clips without subject_mask, which a removal needs: {len(absent)}, such as "
            f"'{min(absent)}'; take another split, or publish them with it"
        )


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
    total, count = len(request.clip_ids), share_count(processes)
    report(0, total)
    if count == 1:
        for finished, _ in enumerate(make_videos(request), start=1):
            report(finished, total)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "request.json")
        file.write_bytes(json_bytes(TypeAdapter(CorpusVideos).dump_python(request, mode="json")))
        words, log, bind_gpus = ["videos", str(file)], request.folder / "generate.log", request.model.device == "auto"
        run_shares(words, count, log, lambda finished: report(finished, total), bind_gpus=bind_gpus)


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
    clip_ids, corpus = request.clip_ids[share[0] :: share[1]], open_corpus(request.corpus)
    lengths = corpus.table.select(["clip_id", "num_frames"]).to_pylist()
    longest = max((row["num_frames"] for row in lengths if row["clip_id"] in clip_ids), default=1)
    size = request.size or read_training(request.model).size
    load = partial(load_pipeline, request.model, (longest, *size), request.sampling)
    yield from make_clip_videos(_list_videos(request, corpus, clip_ids), load, request.sampling)


def _list_videos(request: CorpusVideos, corpus: Corpus, clip_ids: Sequence[str]) -> Iterator[ClipVideo]:
    trained_on, recipe = read_training(request.model), _recipe(request)
    task = trained_on.task
    layers = (task.video, "effect_mask", *(("subject_mask",) if task.removes else ()))
    for clip_id in clip_ids:
        clip = corpus.clip(clip_id)
        digests = [hashlib.sha256(clip.encoded(name) or b"").hexdigest() for name in layers]
        caption = clip.caption if task.prompt is None else task.prompt
        yield ClipVideo(
            clip_id=clip_id,
            path=path_within(request.folder, f"{clip_id}.mkv"),
            key=digest_of([recipe, clip_id, caption, clip.num_frames, digests, *task.record().values()]),
            caption=caption,
            fps=clip.fps,
            read_inputs=partial(clip_input, clip, request, trained_on),
        )


def clip_input(clip: Clip, request: CorpusVideos, trained_on: TrainedOn) -> PipelineInput:
    """Input of the model for a clip, in the mode of the request."""
    size, task = request.size or trained_on.size, trained_on.task
    texts: Any = {"prompt": task.text(clip.caption), "negative": request.negative}
    if request.mode == "text":
        return PipelineInput(**texts, shape=(clip.num_frames, *size))
    over: Any = resize_frames(clip.decode(task.video), size)  # type: ignore[arg-type]
    mask: Any = None
    if request.mode != "nomask":
        mask = resize_frames(change_mask(clip, CacheSettings(), task), size)  # type: ignore[arg-type]
    elif task.removes:
        subject: Any = clip.decode("subject_mask")
        mask = task.hint(over.shape[:3], resize_frames(subject >= SUBJECT_LEVEL, size))
    if request.mode != "keyframes":
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
