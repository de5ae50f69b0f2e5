"""Cost of training the real model, computed from its shapes: `python docs/training_cost.py`.

Writes docs/training_cost.md. Nothing here was measured on a GPU; the utilisations below are assumptions.
"""

from dataclasses import dataclass
from pathlib import Path

LAYERS, WIDTH, HEADS, TIME, TEXT_WIDTH, TEXT_ROWS = 42, 3072, 48, 512, 4096, 226
FRAMES, HEIGHT, ROW = 85, 384, 672
GLOBAL_BATCH, STEPS = 32, 1000
GB, TERA = 1e9, 1e12
VAE_ENCODE, VAE_DECODE, T5 = 192.0, 427.0, 2.1
"""TFLOP of a clip; the autoencoder's by PyTorch's counter, decoded as `training/base/encoders.py` does."""
CARDS = {"RTX A6000 48 GB": (155, 0.35), "A100 80 GB": (312, 0.40), "H100 80 GB": (989, 0.40)}
"""Dense bf16 TFLOP/s by the maker, and the share of it that is assumed to be reached."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Parameters of the transformer, by part."""

    attention: int = LAYERS * (4 * (WIDTH * WIDTH + WIDTH) + 4 * (WIDTH // HEADS))
    feed_forward: int = LAYERS * (2 * WIDTH * 4 * WIDTH + 5 * WIDTH)
    norms: int = LAYERS * 2 * (TIME * 6 * WIDTH + 6 * WIDTH + 2 * WIDTH)
    embeddings: int = 264 * WIDTH + WIDTH + TEXT_WIDTH * WIDTH + WIDTH
    rest: int = (
        (WIDTH * TIME + TIME + TIME * TIME + TIME)
        + (2 * WIDTH) * 2
        + (TIME * 2 * WIDTH + 2 * WIDTH)
        + WIDTH * 128
        + 128
    )

    @property
    def all(self) -> int:
        """Parameters of the whole transformer."""
        return self.attention + self.feed_forward + self.norms + self.embeddings + self.rest


def tokens() -> int:
    """Latent frames in twos, patches of 16x16 pixels, and the text."""
    return (((FRAMES - 1) // 4 + 1) // 2) * (HEIGHT // 16) * (ROW // 16) + TEXT_ROWS


def step_tflop(weights: Weights) -> dict[str, float]:
    """Operations for one sample; multiply-adds count twice."""
    n = tokens()
    linear = 2 * n * (weights.attention + weights.feed_forward) / TERA
    scores = 4 * n * n * WIDTH * LAYERS / TERA
    forward = linear + scores
    backward = linear + 2 * scores + 2 * n * weights.attention / TERA
    return {"forward": forward, "backward": backward, "step": 2 * forward + backward}


def memory_gb(weights: Weights, cards: int) -> dict[str, float]:
    """Attention learns in 32 bits, the rest is frozen in 16; blocks are computed again in the backward pass.

    On one card or under DDP each holds all; ZeRO-2 shares gradients and optimiser out among the cards.
    """
    learns, frozen = 4 * weights.attention, 2 * (weights.all - weights.attention)
    activations = 2 * tokens() * WIDTH * (LAYERS + 16)  # the blocks' inputs, and about 16 tensors of the one at work
    fixed = frozen + learns + learns // 2 + activations  # autocast keeps 16-bit copies of what learns
    optimiser = 3 * learns  # gradient and two moments
    return {"ddp": (fixed + optimiser) / GB, "zero2": (fixed + optimiser / cards) / GB}


def lines() -> list[str]:
    """The page."""
    weights, work = Weights(), step_tflop(Weights())
    page = [
        "# What training should cost: an estimate",
        "",
        "Computed from the model's shapes by `docs/training_cost.py`; **nothing on this page was measured**.",
        f"A clip of {FRAMES}x{HEIGHT}x{ROW} has {tokens():,} tokens, the transformer has {weights.all:,} weights.",
        f"The {weights.attention:,} of attention learn. {STEPS:,} steps of {GLOBAL_BATCH} samples, latents cached.",
        "",
        f"- Forward pass {work['forward']:.0f} TFLOP, backward {work['backward']:.0f}, with recomputation "
        f"{work['step']:.0f} a sample.",
        f"- Encoding the videos of a pair and its caption on the fly would add {2 * VAE_ENCODE + T5:.0f} TFLOP.",
        f"- Sampling a clip in 50 guided steps takes {100 * work['forward'] / 1000:.1f} PFLOP, decoding it "
        f"{VAE_DECODE:.0f} TFLOP.",
        f"- A checkpoint has {12 * weights.attention / GB:.1f} GB (what learns and its two moments, in 32 bits), "
        f"{16 * weights.attention / GB:.1f} GB with a running mean.",
        "",
        "| cards | count | s a step | hours | GB a card, DDP | GB a card, ZeRO-2 |",
        "|---|---|---|---|---|---|",
    ]
    for card, (peak, share) in CARDS.items():
        for count in (1, 2, 4, 8):
            seconds = work["step"] / (peak * share) * GLOBAL_BATCH / count
            held = memory_gb(weights, count)
            page.append(
                f"| {card} (at {share:.0%}) | {count} | {seconds:.0f} | {seconds * STEPS / 3600:.0f} | "
                f"{held['ddp']:.0f} | {held['zero2']:.0f} |"
            )
    page += ["", "Communication between cards, loading and validation are not counted. The batch of a card is 1."]
    return page


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text("\n".join(lines()) + "\n")
