"""The gallery: a corpus as one HTML page that needs nothing beside itself, neither network nor files nor our code.

Each clip is one small video of all its views (see `thumbnails`); the page draws them from it, so they cannot drift
apart.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import jinja2
import numpy as np

from ..corpus.clip import Clip
from ..corpus.reader import Corpus
from ..corpus.schema import VERDICTS
from ..store.atomic_io import atomic_open
from . import thumbnails
from .tables import NUMBERS, as_values, finite, format_number

Values = dict[str, Any]
BINS = 24
LEFT_OUT = 500  # entries of the account that the page lists
PRINTED = ("gt", "over", "effect")  # the views of the still strip
CHARTS = tuple(NUMBERS)[:8]
EXACT_DB = 999.0  # where a PSNR of equal pictures is sorted


def write_report(corpus: Corpus, folder: Path, *, step: Callable[[int, int], None], limit: int = 200) -> Path:
    """Write `index.html` into folder, whole or not at all, and return its path.

    A clip of 85 frames adds about a megabyte to the page; one is in memory at a time. A clip whose video cannot be
    decoded is shown with the reason instead of its pictures.

    Args:
        corpus: what to show.
        folder: made where it is missing; an earlier `index.html` in it is replaced.
        step: called with the number of clips done, and of all.
        limit: of a larger corpus the first so many clips are shown; counts and histograms are of all.

    Raises:
        ValueError: limit is not positive.
        OSError: the folder cannot be written, with the remedy.
    """
    if limit < 1:
        raise ValueError(f"limit={limit} is not positive; give the number of clips to show, such as 200")
    clip_ids = corpus.ids[:limit]

    def cards() -> Iterator[Values]:  # made as the page is written
        for number, clip_id in enumerate(clip_ids, start=1):
            clip = corpus[clip_id]
            yield {**_words(clip), **_pictures(clip)}
            step(number, len(clip_ids))

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    templates = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    manifest, values = corpus.manifest, as_values(corpus)
    publishing = manifest["settings"]["publishing"]
    page = templates.get_template("report.html.j2").stream(
        corpus={name: manifest[name] for name in ("name", "version", "software", "counts")},
        storage=publishing["storage"],
        included=publishing["include"],
        choices={name: values["counts"][f"by_{name}"] for name in ("verdict", "effect", "kind", "source", "split")},
        charts=[chart for name in CHARTS if (chart := histogram(name, values["clips"]))],
        account=values["account"],
        left_out_shown=LEFT_OUT,
        verdicts=VERDICTS,
        shown=len(clip_ids),
        clips=cards(),
        views=thumbnails.VIEWS,
        numbers=NUMBERS,
        gain=thumbnails.GAIN,
    )
    page.enable_buffering(64)
    with atomic_open(folder / "index.html") as file:
        page.dump(file, encoding="utf-8")
    return folder / "index.html"


def histogram(name: str, clips: Sequence[Mapping[str, Any]]) -> Values | None:
    """A number's histogram over the clips as bars of a 240x60 drawing; None where no clip has the number."""
    number = NUMBERS[name]
    measured = [value for clip in clips if (value := clip["quality"][name]) is not None]
    if not measured:
        return None
    counts, edges = np.histogram(measured, bins=BINS)
    width = 240 / BINS
    bars = [
        {
            "x": round(index * width + 0.5, 2),
            "y": round(60 - 58 * count / counts.max(), 2),
            "width": round(width - 1, 2),
            "height": round(58 * count / counts.max(), 2),
            "label": f"{count} clips from {number.text(low)} to {number.text(high)}",
        }
        for index, (count, low, high) in enumerate(zip(counts.tolist(), edges[:-1], edges[1:], strict=True))
        if count
    ]
    low, middle, high = (number.bare(float(value)) for value in np.quantile(measured, [0, 0.5, 1]))
    exact = sum(format_number(name, clip["quality"]) == "exact" for clip in clips)
    return {"number": number, "bars": bars, "low": low, "median": middle, "high": high, "exact": exact}


def _words(clip: Clip) -> Values:
    row, quality = clip.row, clip.row["quality"]
    texts = [{"name": name, "text": format_number(name, quality)} for name in NUMBERS]
    ranks = {text["name"]: EXACT_DB if text["text"] == "exact" else finite(quality[text["name"]]) for text in texts}
    provenance = row["provenance"]
    settings = json.dumps(clip.record("settings"), indent=1, ensure_ascii=False)
    return {
        "row": row,
        "numbers": texts,
        "ranks": json.dumps({name: value for name, value in ranks.items() if value is not None}),
        "provenance": provenance,
        "settings": settings,
        "told": clip.record("captions"),
        "paired": any(quality[name] is not None for name in NUMBERS),
    }


def _pictures(clip: Clip) -> Values:
    """The film of a clip, its middle frame and strip as base64, and the place of each view in it; or why none are."""
    try:
        pictures = thumbnails.render_views(clip)
    except (av.error.FFmpegError, ValueError, OSError) as broken:
        return {"broken": f"Its video cannot be decoded ({broken}); run: effectpairs verify", "places": []}
    mosaic, corners = thumbnails.mosaic(pictures)
    height, width = pictures["gt"].shape[1:3]
    film = thumbnails.encode_mp4(mosaic, fps=clip.row["fps"])
    strip = thumbnails.encode_strip({name: pictures[name] for name in PRINTED if name in pictures})
    view_by_name = {view.name: view for view in thumbnails.VIEWS}
    return {
        "film": base64.b64encode(film).decode(),
        "still": base64.b64encode(thumbnails.jpeg(mosaic[len(mosaic) // 2])).decode(),
        "strip": base64.b64encode(strip).decode(),
        "places": [{"view": view_by_name[name], "x": x, "y": y} for name, (x, y) in corners.items()],
        "size": (width, height),
    }
