"""Everything that can be wrong with footage, in one source: each costs itself alone and is told in one sentence."""

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.ledger import ClipOutcome, read_ledger
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_scene import sliding_square, write_h264
from effectpairs.tests.fixtures_workspaces import run_source

SCENE = sliding_square(29, seed=5)


def write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.height, stream.width, stream.pix_fmt = 48, 80, "yuv420p"
        container.start_encoding()


def huge_header(path: Path) -> None:
    """A real video whose header then claims 65,535 x 65,535 pixels, all that its field can hold."""
    write_h264(path, SCENE.gt)
    content = bytearray(path.read_bytes())
    box = content.find(b"avc1", content.find(b"stsd"))
    content[box + 28 : box + 32] = b"\xff\xff\xff\xff"
    path.write_bytes(content)


def truncated(path: Path) -> None:
    write_h264(path, SCENE.gt)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


BAD_VIDEOS = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": truncated,
    "zero-frames": write_no_frames,
    "audio-only": write_audio,
    "wrong-extension": lambda path: path.write_text("this is a letter, not a video"),
    "absurd-size": huge_header,
}
BAD_MASKS = {
    "mask-length": SCENE.subject_mask[:20],
    "mask-size": np.zeros((29, 64, 64), np.uint8) + SCENE.subject_mask[:, :1, :1],
    "mask-empty": np.zeros_like(SCENE.subject_mask),
    "mask-full": np.full_like(SCENE.subject_mask, 255),
}


@pytest.fixture
def bad_source(tmp_path: Path) -> Path:
    root = tmp_path / "footage"
    for name, spoil in BAD_VIDEOS.items():
        (root / name).mkdir(parents=True)
        spoil(root / name / "input_video.mp4")
        write_h264(root / name / "mask_00.mp4", SCENE.subject_mask)
    for name, mask in BAD_MASKS.items():
        write_h264(root / name / "input_video.mp4", SCENE.gt)
        write_h264(root / name / "mask_00.mp4", mask)
    write_h264(root / "no-mask" / "input_video.mp4", SCENE.gt)
    outside = tmp_path / "elsewhere"
    write_h264(outside / "input_video.mp4", SCENE.gt)
    write_h264(outside / "mask_00.mp4", SCENE.subject_mask)
    (root / "leaves-its-folder").symlink_to(outside, target_is_directory=True)
    write_h264(root / "good" / "input_video.mp4", SCENE.gt)
    write_h264(root / "good" / "mask_00.mp4", SCENE.subject_mask)
    path = tmp_path / "bad.toml"
    path.write_text(f'root = "{root}"\nlayout = "gen-omnimatte"\n[normalise]\nsize = [48, 80]\nmax_frames = 13\n')
    return path


def test_each_bad_video_is_told_in_a_sentence_and_the_good_one_goes_through(bad_source, tmp_path):
    source = load_source(bad_source, into=RealSource)
    account = run_source(source, tmp_path / "w", workers=1)
    entries = read_ledger(tmp_path / "w", "bad")
    bad = [*BAD_VIDEOS, *BAD_MASKS, "no-mask", "leaves-its-folder"]
    for name in bad:
        entry = entry_of(name, entries)
        assert entry.outcome == "fail", (name, entry)
        (sentence,) = entry.reasons
        assert ("input_video.mp4" if name in BAD_VIDEOS else name) in sentence
        assert ";" in sentence, f"a remedy follows what is wrong: {sentence}"
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert not sentence.startswith(("ValueError", "TypeError", "av."))
    assert account.failed == len(bad)
    assert account.inputs == len(bad) + 2 == account.accepted + account.review + account.rejected + account.failed
    assert all(entry.outcome != "fail" for entry in entries if "-good-" in entry.name)


def entry_of(name: str, entries: list[ClipOutcome]) -> ClipOutcome:
    (entry,) = (entry for entry in entries if entry.name == f"bad-{name}")
    return entry


def test_two_videos_of_one_name_are_both_named(tmp_path):
    for folder in ("a", "b"):
        write_h264(tmp_path / "footage" / folder / "clip.mp4", SCENE.gt)
        write_h264(tmp_path / "footage" / folder / "clip_mask.mov", SCENE.subject_mask)
    path = tmp_path / "twice.toml"
    path.write_text(
        f'root = "{tmp_path / "footage"}"\nlayout = "videos"\nvideo = "*/clip.mp4"\nmasks = ["{{stem}}_mask.mov"]\n'
        "[normalise]\nsize = [48, 80]\nmax_frames = 13\n"
    )
    account = run_source(load_source(path, into=RealSource), tmp_path / "w", workers=1)
    entries = read_ledger(tmp_path / "w", "twice")
    assert account.inputs == len(entries) == len({entry.name for entry in entries})
    refused = [entry for entry in entries if entry.outcome == "fail"]
    if refused:  # either the folder tells them apart, or the second is refused and both files are named
        assert "a/clip.mp4" in refused[0].reasons[0]
        assert "b/clip.mp4" in refused[0].reasons[0]
    else:
        assert account.inputs == 4


def test_a_full_disk_is_told_and_harms_nothing(source_file, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        source = load_source(source_file, into=RealSource)
        told = _told_of(source, small / "w")
        assert str(small) in told
        assert "disk is full; free some space" in told
        kept = {path: path.read_bytes() for path in (small / "w").rglob("*") if path.is_file()}
        assert not [path for path in kept if ".partial" in str(path)]
        roomy = tmp_path / "roomy"
        shutil.copytree(small / "w", roomy)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)  # an index of the workspace may still be open
    # What had been written is whole: with room, the run goes on from there to the corpus of an undisturbed run.
    account = run_source(source, roomy, workers=1)
    assert account.failed == 0
    undisturbed = run_source(source, tmp_path / "undisturbed", workers=1)
    assert account == undisturbed
    if account.accepted:
        publish_locally(str(tmp_path / "corpus"), roomy)


def _told_of(source: RealSource, workspace: Path) -> str:
    """What a run into too small a place says: in the account of its clips or, where not even that fits, as an error."""
    try:
        account = run_source(source, workspace, workers=1)
    except OSError as full:
        return str(full)
    assert account.failed
    reasons = [reason for entry in read_ledger(workspace, source.name) for reason in entry.reasons]
    return next(reason for reason in reasons if "disk is full" in reason)
