"""Layers of a scene from its frame files: those that all variants share, and each variant's own with its numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...datasets.store.codec import Frames
from ...stages import composite, effect_mask, quality
from ...stages.effect_mask import Prune
from ...stages.quality import Pair
from ..blender.exr_frames import open_render_frames
from ..scene.scene import Scene, Variant
from ..scene.scene_facts import effect_words, scene_facts
from . import effect_masks, layers
from .effect_masks import MaskFromPasses
from .layers import SharedLayers, VariantLayers

AddLayer = Callable[[str, Frames], None]
"""Stores a layer under its name; the layers of a variant are called VARIANT/NAME."""
SHARED_LAYERS = ("background", "foreground", "over", "subject_mask")
VARIANT_LAYERS = ("gt", "effect_mask")
"""Layers of a row that a variant has for itself; beside them it keeps otsu_mask and truth_KIND."""


def compose(
    scene: Scene, folder: Path, frames: Sequence[int], truth: MaskFromPasses, difference: Prune, add: AddLayer
) -> dict[str, Any]:
    """Make every layer of these frames; one variant is in memory at a time.

    Args:
        scene: what was rendered.
        folder: its frame files.
        frames: numbers of the frames to compose.
        truth: how effect masks are made of the passes.
        difference: the difference recipe that these masks are compared with.
        add: stores each layer.

    Returns:
        By variant: `numbers`, `white_steps` by effect, `facts`, `effects`; or `refused`, why it cannot be used.

    Raises:
        ValueError: the scene as a whole cannot be used.
        CorruptFrame: a frame file is missing or damaged.
    """
    files = open_render_frames(folder)
    shared = layers.compose_shared(files, frames)
    if not shared.subject_mask.any():
        raise ValueError(f"{scene.subject.name}: is in no frame of the picture; move it, or point the camera at it")
    over = shared.over
    if scene.rendering.composite == "eq2":
        over = composite.over(shared.foreground, shared.background, shared.subject_mask)
    for name, layer in zip(
        SHARED_LAYERS, (shared.background, shared.foreground, over, shared.subject_mask), strict=True
    ):
        add(name, layer)
    variants = {}
    for number, variant in enumerate(scene.variants):
        try:
            kinds = tuple(effect.kind for effect in variant.effects)
            variant_layers = layers.compose_variant(files, number, kinds, shared, over)
            facts = _add_variant(variant, variant_layers, shared, over, truth, difference, add)
        except ValueError as unusable:
            facts = {"refused": str(unusable)}
        variants[variant.name] = facts | {"facts": scene_facts(scene, variant), "effects": effect_words(variant)}
    return variants


def _add_variant(
    variant: Variant,
    own: VariantLayers,
    shared: SharedLayers,
    over: Frames,
    truth: MaskFromPasses,
    difference: Prune,
    add: AddLayer,
) -> dict[str, Any]:
    """Add a variant's layers; return its numbers."""
    mask = effect_masks.restrict_to_visible(
        effect_masks.effect_mask(own.steps.values(), truth), own.gt, shared.over, truth
    )
    otsu_mask = effect_mask.effect_mask(own.gt, over, shared.subject_mask, difference).mask
    add(f"{variant.name}/gt", own.gt)
    add(f"{variant.name}/effect_mask", mask)
    add(f"{variant.name}/otsu_mask", otsu_mask)
    white_steps = {}
    for kind, steps in own.steps.items():
        soft_mask, white_steps[kind] = effect_masks.soft_mask(steps, truth)
        add(f"{variant.name}/truth_{kind}", soft_mask)
    pair = Pair(
        gt=own.gt,
        over=over,
        background=shared.background,
        foreground=shared.foreground,
        alpha=None,
        subject_mask=shared.subject_mask,
        effect_mask=mask,
        confidence=None,
        facts={
            "otsu_iou": effect_masks.mask_iou(otsu_mask, mask),
            "subject_error": float(own.subject_error),
            "firefly_share": own.fireflies / mask.size,
        },
    )
    return {"numbers": quality.measure(pair), "white_steps": white_steps}
