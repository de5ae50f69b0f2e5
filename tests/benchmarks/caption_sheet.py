"""Captions without weights, printed beside the frames they speak of: `python tests/benchmarks/caption_sheet.py CORPUS`.

Read them all: is each true, is none clumsy? Seconds a clip are printed too. Frames of footage stay where --out says.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import effectpairs
import numpy as np
from effectpairs.captioning.interface.captioner import ClipContext
from effectpairs.captioning.pipeline import CaptionSettings, augment_caption, describe_clip, refine_description
from effectpairs.captioning.rule_based.captioner import RuleBasedCaptioner
from effectpairs.captioning.rule_based.clip_facts import collect_facts

SHOWN, HEIGHT, TEXT = 4, 120, 22


def seen_of(clip) -> ClipContext:
    """A corpus's row as a captioner sees it; its name is somebody's word for the subject."""
    facts = json.loads(clip.provenance.get("facts") or "{}")
    subject = facts.get("subject") or None
    layers = {name: getattr(clip, name) for name in ("gt", "over", "subject_mask", "effect_mask")}
    return ClipContext(
        **layers,
        fps=clip.fps,
        effects=tuple(clip.effects),
        facts=facts,
        subject=subject,
        hint=None if facts else clip.clip_id,
    )


def strip(seen: ClipContext, text: str) -> np.ndarray:
    """A few frames, the effect mask in red, and the caption below."""
    places = np.linspace(0, len(seen.gt) - 1, SHOWN).round().astype(int)
    middle = places[SHOWN // 2]
    masked = np.where(seen.effect_mask[middle][..., None], (255, 60, 60), seen.gt[middle] // 3).astype(np.uint8)
    width = round(HEIGHT * seen.gt.shape[2] / seen.gt.shape[1])
    row = np.concatenate([cv2.resize(picture, (width, HEIGHT)) for picture in (*seen.gt[places], masked)], axis=1)
    row = cv2.resize(row, (1050, HEIGHT))
    below = np.full((TEXT, row.shape[1], 3), 255, np.uint8)
    cv2.putText(below, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([row, below])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("corpus", nargs="+")
    asked.add_argument("--out", type=Path, default=Path("captions.jpg"))
    asked.add_argument("--most", type=int, default=30)
    given = asked.parse_args()
    clips = [clip for path in given.corpus for clip in effectpairs.open(path)][: given.most]
    rows, seconds = [], []
    for number, clip in enumerate(clips):
        seen = seen_of(clip)
        began = time.process_time()
        dense = describe_clip(RuleBasedCaptioner(), seen, seed=number)
        concise = refine_description(RuleBasedCaptioner(), "", seen, seed=number)
        text = concise.reply.text if concise.reply else "(none)"
        variants = augment_caption(RuleBasedCaptioner(), text, seen, CaptionSettings(variants=3), seed=number)
        seconds.append(time.process_time() - began)
        print(f"{number:2} {clip.clip_id} ({collect_facts(seen).tags.source}, {concise.verdict})\n   {text}")
        print(f"   dense: {dense.reply.text if dense.reply else dense.attempts[-1].objections}")
        print(*(f"   other: {reply.text}" for reply in variants.replies), sep="\n")
        rows.append(strip(seen, f"{number} {text}"))
    cv2.imwrite(str(given.out), np.concatenate(rows)[..., ::-1])
    print(f"{len(rows)} clips, {np.mean(seconds):.2f} CPU seconds a clip; {given.out}")


if __name__ == "__main__":
    main()
