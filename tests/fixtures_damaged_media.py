"""Media files damaged by a seeded mutator, and one run over a source that is full of them.

`python -m effectpairs.tests.fixtures_damaged_media FOLDER 300` damages as many, runs, checks, and prints figures.
"""

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.ledger import ClipOutcome, read_ledger
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_scene import sliding_square, write_h264
from effectpairs.tests.fixtures_videos import encode_video, write_images, write_label_images

SCENE = sliding_square(13, seed=3)
BIG = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x10000000, 0x00FFFFFF, 100_000, 0)
"""Numbers that headers should not hold."""
PEAK_BYTES = 600 * 2**20
"""Limit on the memory of a process of the run; 300 cases took 211 MiB, of which 180 are its libraries."""
GOOD_EVERY = 10
"""One case of so many is left whole."""


def transport_stream(path: Path) -> None:
    write_h264(path.with_name("whole.mp4"), SCENE.gt)
    with av.open(str(path.with_name("whole.mp4"))) as whole, av.open(str(path), "w", format="mpegts") as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    path.with_name("whole.mp4").unlink()


def encoder(**how: str) -> Callable[[Path], object]:
    return lambda path: encode_video(path, SCENE.gt, fps=16, **how)


VIDEOS: dict[str, Callable[[Path], object]] = {
    "video.mp4": lambda path: write_h264(path, SCENE.gt),
    "video.mov": lambda path: write_h264(path, SCENE.gt),
    "video.mkv": lambda path: write_h264(path, SCENE.gt),
    "video.webm": encoder(codec="libvpx-vp9", pix_fmt="yuv420p", crf="20", b="0"),
    "video.avi": encoder(codec="mpeg4", pix_fmt="yuv420p"),
    "video.ts": transport_stream,
    "video.mpg": encoder(codec="mpeg2video", pix_fmt="yuv420p", g="6"),
    "video.gif": encoder(codec="gif", pix_fmt="rgb8"),
    "png": lambda path: write_images(path.with_name("video"), SCENE.gt),
    "jpg": lambda path: write_images(path.with_name("video"), SCENE.gt, suffix=".jpg"),
    "tif": lambda path: write_images(path.with_name("video"), SCENE.gt, suffix=".tif"),
    "webp": lambda path: write_images(path.with_name("video"), SCENE.gt, suffix=".webp"),
}
MASKS: dict[str, Callable[[Path], object]] = {
    "mask.mp4": lambda path: write_h264(path, SCENE.subject_mask),
    "mask": lambda path: write_images(path, SCENE.subject_mask),
}


def write_originals(folder: Path) -> None:
    """Write one whole case of every kind: folders of a source of videos, one with key masks, and DAVIS trees."""
    for number, (name, write) in enumerate(VIDEOS.items()):
        case = folder / "masks" / name.replace(".", "-")
        case.mkdir(parents=True)
        write(case / name)
        mask, write_mask = list(MASKS.items())[number % 2]
        write_mask(case / mask)
    polygon = [[[20, 16], [32, 16], [32, 28], [20, 28]]]
    boxes = {"subjects": [{"boxes": {"0": [2, 16, 12, 12]}, "points": {"6": [[36, 20]]}, "polygons": {"9": polygon}}]}
    for name, keys in (("polygons", {"4": polygon}), ("prompts", boxes)):
        write_h264(folder / "keys" / name / "video.mp4", SCENE.gt)
        (folder / "keys" / name / "keys.json").write_text(json.dumps(keys))
    write_images(folder / "davis" / "JPEGImages" / "tree", SCENE.gt, suffix=".jpg")
    write_label_images(folder / "davis" / "Annotations" / "tree", SCENE.subject_mask // 255)


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one of nine ways."""
    data, size = bytearray(content), len(content)
    at, length = int(rng.integers(size)), int(rng.integers(1, max(2, min(size // 4, 4000))))
    match rng.integers(9):
        case 0:  # bits, anywhere
            for place in rng.integers(size, size=rng.integers(1, 30)):
                data[place] ^= 1 << int(rng.integers(8))
        case 1:  # bytes of the header
            for place in rng.integers(min(size, 600), size=rng.integers(1, 8)):
                data[place] = int(rng.integers(256))
        case 2:
            del data[at:]
        case 3:
            data[at:at] = rng.bytes(length)
        case 4:
            del data[at : at + length]
        case 5:
            data[at : at + length] = bytes(min(length, size - at))
        case 6:  # sizes, times and counts
            for place in rng.integers(max(1, min(size, 1500) - 4), size=rng.integers(1, 4)):
                order = "big" if rng.random() < 0.7 else "little"
                data[place : place + 4] = int(rng.choice(BIG)).to_bytes(4, order)
        case 7:
            data = swap_blocks(data, rng)
        case _:
            data = data[at:] + data[:at]
    return bytes(data)


def swap_blocks(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Exchange two boxes of an mp4, or two blocks of anything else."""
    starts = [match.start() - 4 for match in re.finditer(rb"ftyp|moov|mdat|free|trak|stbl|stts|stsz|stsc|stco", data)]
    if len(starts) < 3 or data[4:8] != b"ftyp":
        starts = sorted({0, *rng.integers(len(data), size=4).tolist()})
    one, two, three = sorted(rng.choice([*starts, len(data)], size=3).tolist())
    return data[:one] + data[two:three] + data[one:two] + data[three:]


def damage_case(case: Path, others: list[Path], rng: np.random.Generator) -> None:
    """Damage one file of a case, or what files it has: of its video or of its masks."""
    parts = sorted(case.iterdir())
    part = parts[rng.integers(len(parts))]
    files = sorted(part.iterdir()) if part.is_dir() else [part]
    victim = files[rng.integers(len(files))]
    chance = rng.random()
    if chance < 0.8:
        victim.write_bytes(damage(victim.read_bytes(), rng))
    elif chance < 0.85:
        victim.write_bytes(b"")
    elif chance < 0.9 and len(files) > 1:  # without its only video there is no case
        victim.unlink()
    elif chance < 0.95:
        victim.write_bytes(others[rng.integers(len(others))].read_bytes())
    else:
        victim.write_bytes(rng.bytes(int(rng.integers(1, 5000))))


def write_sources(folder: Path, count: int, seed: int) -> dict[str, Path]:
    """Write so many damaged cases, and good ones between them; return the settings file of each source."""
    rng = np.random.default_rng(seed)
    write_originals(folder / "originals")
    others = sorted(path for path in (folder / "originals").rglob("*") if path.is_file())
    kinds = [*sorted((folder / "originals" / "masks").iterdir()), *sorted((folder / "originals" / "keys").iterdir())]
    for number in range(count):
        position = number % (len(kinds) + 2)
        if position < len(kinds):
            case = folder / kinds[position].parent.name / f"{number:03d}"
            shutil.copytree(kinds[position], case)
            damage_case(case, others, rng)
        else:
            for part in ("JPEGImages", "Annotations"):
                copy = folder / "davis" / part / f"{number:03d}"
                shutil.copytree(folder / "originals" / "davis" / part / "tree", copy)
                if (part == "JPEGImages") == (position == len(kinds)):
                    damage_case(copy, others, rng)
    for number in range(count // GOOD_EVERY):
        kind = kinds[-1 - number % len(kinds)]
        shutil.copytree(kind, folder / kind.parent.name / f"good-{number}")
    for part in ("JPEGImages", "Annotations"):
        shutil.copytree(folder / "originals" / "davis" / part / "tree", folder / "davis" / part / "good-0")
    return {name: write_settings(folder, name) for name in ("masks", "keys", "davis")}


def write_settings(folder: Path, name: str, include: str = "*") -> Path:
    """Write the settings of a source over the cases of one kind."""
    layout = {
        "masks": 'layout = "videos"\nvideo = "*/video*"\nmasks = ["mask*"]\n',
        "keys": 'layout = "videos"\nvideo = "*/video.mp4"\nkeys = "keys.json"\n',
        "davis": 'layout = "davis"\n',
    }[name]
    subject = '[subject]\nkind = "propagate"\n' if name == "keys" else ""
    path = folder / f"{name}.toml"
    path.write_text(
        f'root = "{folder / name}"\ninclude = ["{include}"]\n{layout}'
        f"[normalise]\nsize = [32, 48]\nmax_frames = 13\nmax_clips = 2\n{subject}"
    )
    return path


RUN = """
import json, resource, sys, time
from pathlib import Path
from effectpairs.datasets.sources.source import load_source
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_workspaces import run_source
if __name__ == "__main__":
    for settings in sys.argv[2:]:
        run_source(load_source(settings, into=RealSource), Path(sys.argv[1]), workers=1)
    # Not RUSAGE_SELF: that begins with the memory of the process which this one was forked from.
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    peaks = [int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]
    print(json.dumps([1024 * peak for peak in peaks]))
"""


def run_apart(workspace: Path, sources: list[Path], timeout_s: float) -> int:
    """Run sources in a process of their own; return the most memory in bytes that it or a worker of it took."""
    script = workspace.with_suffix(".py")
    script.write_text(RUN)
    done = subprocess.run(
        [sys.executable, str(script), str(workspace), *map(str, sources)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return max(json.loads(done.stdout.splitlines()[-1]))


def check_run(folder: Path, sources: dict[str, Path], cases: int) -> dict[str, int]:
    """Check the account of a run over damaged cases; return the number of clips by outcome."""
    outcomes: dict[str, int] = {}
    named = set()
    for name, settings in sources.items():
        entries = read_ledger(folder / "workspace", load_source(settings, into=RealSource).name)
        for entry in entries:
            outcomes[entry.outcome] = outcomes.get(entry.outcome, 0) + 1
            named.add((name, case_of(entry)))
            for reason in entry.reasons:
                assert not re.match(r"\w*(Error|Exception|Died|Stalled)\b", reason), reason
                assert "\n" not in reason, reason
                assert "Traceback" not in reason, reason
    assert len({(name, case) for name, case in named if not case.startswith("good")}) == cases
    return outcomes


def case_of(entry: ClipOutcome) -> str:
    """Name of the case that an entry of an account is about."""
    match = re.match(r"(?:masks|keys|davis)-(good-\d+|\d{3})", entry.name)
    assert match, entry.name
    return match[1]


def good_clips(workspace: Path, name: str) -> dict[str, object]:
    """Layers and row of each clip of a good case."""
    entries = [entry for entry in read_ledger(workspace, name) if case_of(entry).startswith("good")]
    return {
        entry.name: (entry.outcome, {layer: ref["sha256"] for layer, ref in (entry.layers or {}).items()})
        for entry in entries
    }


def run_damaged(folder: Path, count: int, seed: int, timeout_s: float) -> dict[str, float | int]:
    """Damage so many cases, run over them, and check the account, the memory and the good ones; return figures."""
    folder.mkdir(exist_ok=True)
    sources = write_sources(folder, count, seed)
    begun = time.perf_counter()
    peak_bytes = run_apart(folder / "workspace", list(sources.values()), timeout_s)
    seconds = time.perf_counter() - begun
    outcomes = check_run(folder, sources, count)
    assert peak_bytes < PEAK_BYTES, peak_bytes
    with_damaged = {name: good_clips(folder / "workspace", name) for name in sources}
    assert sum(map(len, with_damaged.values())) > count // GOOD_EVERY
    run_apart(folder / "alone", [write_settings(folder, name, "good-*") for name in sources], timeout_s)
    assert with_damaged == {name: good_clips(folder / "alone", name) for name in sources}
    return {"cases": count, "seconds": round(seconds, 1), "peak_MiB": peak_bytes >> 20, **outcomes}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(
        json.dumps(
            run_damaged(Path(sys.argv[1]), int(sys.argv[2]), seed=int((sys.argv[3:] or ["0"])[0]), timeout_s=3600.0)
        )
    )
