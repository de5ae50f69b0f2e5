"""Which clips a finished run is shown and measured by; no torch in here."""

from ..datasets.corpus import Corpus


def held_out(corpus: Corpus, count: int) -> list[str]:
    """The ids of the clips that are sampled: pairs, of the split that was least trained on; a count of 0 is all."""
    rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
    pairs = [row for row in rows if row["kind"] != "unpaired"]
    for split in ("test", "validation", "train"):
        found = [row["clip_id"] for row in pairs if row["split"] == split]
        if found:
            return found[:count] if count else found
    return []
