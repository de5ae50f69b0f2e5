"""Which clips a finished run is shown and measured by, and whether it was trained on them; no torch in here."""

from ...datasets.corpus.reader import Corpus

LEAST_SEEN = ("test", "validation", "train")


def held_out(corpus: Corpus, count: int) -> list[str]:
    """The ids of the clips that are sampled: pairs, of the split that was least trained on; a count of 0 is all."""
    split = measured_split(corpus)
    found = [row["clip_id"] for row in _pairs(corpus) if row["split"] == split]
    return found[:count] if count else found


def measured_split(corpus: Corpus) -> str:
    """The first of test, validation and training that has a pair."""
    there = {row["split"] for row in _pairs(corpus)}
    return next((split for split in LEAST_SEEN if split in there), LEAST_SEEN[-1])


def what_they_are(split: str, count: int, *, trained_on: str) -> str:
    """So many clips in words, and whether a run has learnt from them: numbers on those say nothing of others.

    Args:
        split: theirs.
        count: how many they are.
        trained_on: the split that the run learnt from, or "all".
    """
    clips = f"{count} clip{'' if count == 1 else 's'}"
    if trained_on not in ("all", split):
        return f"{clips} of the {split} split, held out of training"
    if split == LEAST_SEEN[-1]:
        return f"{clips} of the training split, for the corpus holds no pair back: the model may have learnt from them"
    return f"{clips} of the {split} split, on which this run was trained"


def _pairs(corpus: Corpus) -> list[dict[str, str]]:
    rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
    return [row for row in rows if row["kind"] != "unpaired"]
