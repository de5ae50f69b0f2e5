"""A user study as a static page: two methods' videos side by side, the three questions of the paper's Sec. 4.3.

`page/` is what participants get (from any web server, or as a folder); `key.json` beside it says which video is whose
and stays here. Nothing in the page tells: names are drawn for each pair, sides for each participant.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ...arrays import Mask, Rgb
from ...datasets.corpus.reader import Corpus
from ...datasets.gallery.thumbnails import film
from ...datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from ..evaluation.videos import Method, clip_ids, find_video, read_video

QUESTIONS = {
    "text": "Which video's effects and details best match the editing prompt?",
    "mask": "Which video's effects and details better align with the masked regions?",
    "content": "Which video best preserves the appearance and motion of the original content while adding new effects?",
}
"""The three of the paper, in its words and order."""
NAMES = ("x", "y")
"""What the page calls the two videos of a pair."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study asks."""

    masks: bool = True
    """Ask about the mask, where a clip has one; not for methods that take none."""
    seed: int = 0
    """Of the names; sides are drawn anew by each participant's page."""


def write_study(
    methods: tuple[Method, Method],
    corpus: Corpus,
    folder: Path,
    settings: Study = Study(),
    step: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """Write page and key for the clips that both methods have; return the page.

    Prompt, input and mask come from the corpus. Videos are cut to the shorter of the two.

    Raises:
        ValueError: the methods share a name or no clip, or their videos differ in size.
    """
    shared = _shared(methods, corpus)
    rng = np.random.default_rng(settings.seed)
    pairs: list[dict[str, Any]] = []
    key: dict[str, dict[str, str]] = {}
    for number, clip_id in enumerate(shared):
        step(number, len(shared))
        order = [methods[int(at)] for at in rng.permutation(2)]
        pair = f"p{number + 1:03d}"
        key[pair] = {"clip": clip_id, **{name: method.name for name, method in zip(NAMES, order, strict=True)}}
        pairs.append(_write_pair(corpus[clip_id], order, folder / "page" / "videos" / pair, settings))
    study = digest_of(key)[:16]
    atomic_write(folder / "key.json", json_bytes({"study": study, "pairs": key}))
    page = folder / "page" / "index.html"
    atomic_write(page, _page(study, pairs).encode())
    step(len(shared), len(shared))
    return page


def _shared(methods: tuple[Method, Method], corpus: Corpus) -> Sequence[str]:
    first, second = methods
    if first.name == second.name:
        raise ValueError(f"both methods are called {first.name}; name the folders differently")
    shared = sorted(set(clip_ids(first.folder)) & set(clip_ids(second.folder)) & set(corpus.ids))
    if not shared:
        raise ValueError(
            f"{first.folder} and {second.folder} have no clip of {corpus.place.url} in common; name the videos by "
            "clip_id, such as " + ", ".join(f"{clip_id}.mp4" for clip_id in corpus.ids[:2])
        )
    return shared


def _write_pair(clip: Any, order: Sequence[Method], folder: Path, settings: Study) -> dict[str, Any]:
    """Write a pair's films, and say what the page shall show of it."""
    videos = {}
    for name, method in zip(NAMES, order, strict=True):
        path = find_video(method.folder, clip.clip_id)
        assert path is not None, "both have it"
        videos[name] = read_video(path)
    if videos["x"].shape[1:] != videos["y"].shape[1:]:
        sizes = ["x".join(map(str, videos[name].shape[1:3])) for name in NAMES]
        raise ValueError(f"{clip.clip_id}: the two videos have frames of {sizes[0]} and {sizes[1]}; scale one of them")
    over, mask = clip.over, clip.effect_mask if settings.masks else None
    if over is not None:
        videos["input"] = over
        if mask is not None:
            videos["mask"] = outlined(over, mask)
    length = min(len(video) for video in videos.values())
    for name, video in videos.items():
        height, width = (side - side % 2 for side in video.shape[1:3])
        atomic_write(folder / f"{name}.mp4", film(video[:length, :height, :width], fps=clip.fps))
    answerable = {"text": bool(clip.caption.strip()), "mask": "mask" in videos, "content": True}
    asked = [name for name in QUESTIONS if answerable[name]]
    return {"id": folder.name, "prompt": clip.caption, "questions": asked, "input": "input" in videos}


def outlined(over: Rgb, mask: Mask) -> Rgb:
    """The input with the mask's region tinted, so that the question about it can be answered."""
    shown = over.copy()
    tint = np.array([255, 64, 160], np.float32)
    for frame, inside in zip(shown, mask, strict=True):
        frame[inside] = np.rint(0.6 * frame[inside] + 0.4 * tint).astype(np.uint8)
    return shown


def _page(study: str, pairs: Sequence[dict[str, Any]]) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html.j2")
    told = json.dumps({"study": study, "pairs": pairs, "questions": QUESTIONS}).replace("<", "\\u003c")
    return template.render(told=told)
