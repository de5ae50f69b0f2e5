"""A scene's frame files to everything that is kept of it: shared layers, and each variant's with its numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...datasets.store.codec import Frames
from ...render.blender.exr_frames import open_render_frames
from ...render.compositing import effect_masks, layers
from ...render.compositing.layers import SharedLayers, VariantLayers
from ...render.scene.scene import Scene, Variant
from ...render.scene.scene_facts import effect_words, scene_facts
from ...stages import composite, effect_mask, quality
from ...stages.quality import Pair
from .source import SceneSource

Add = Callable[[str, Frames], None]
"""Where a layer goes, by its name; those of a variant are VARIANT/NAME."""
SHARED = ("background", "foreground", "over", "subject_mask")
OWN = ("gt", "effect_mask")
"""The layers of a row that a variant has for itself; beside them it keeps otsu_mask and truth_KIND."""


def compose(scene: Scene, folder: Path, frames: Sequence[int], source: SceneSource, add: Add) -> dict[str, Any]:
    """Make every layer of these frames; one variant is in memory at a time.

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
    for name, layer in zip(SHARED, (shared.background, shared.foreground, over, shared.subject_mask), strict=True):
        add(name, layer)
    made = {}
    for number, variant in enumerate(scene.variants):
        try:
            kinds = tuple(effect.kind for effect in variant.effects)
            own = layers.compose_variant(files, number, kinds, shared, over)
            found = _variant(variant, own, shared, over, source, add)
        except ValueError as unusable:
            found = {"refused": str(unusable)}
        made[variant.name] = found | {"facts": scene_facts(scene, variant), "effects": effect_words(variant)}
    return made


def _variant(
    variant: Variant, own: VariantLayers, shared: SharedLayers, over: Frames, source: SceneSource, add: Add
) -> dict[str, Any]:
    mask = effect_masks.restrict_to_visible(
        effect_masks.effect_mask(own.steps.values(), source.truth), own.gt, shared.over, source.truth
    )
    otsu = effect_mask.effect_mask(own.gt, over, shared.subject_mask, source.prune).mask
    add(f"{variant.name}/gt", own.gt)
    add(f"{variant.name}/effect_mask", mask)
    add(f"{variant.name}/otsu_mask", otsu)
    white = {}
    for kind, steps in own.steps.items():
        soft, white[kind] = effect_masks.soft_mask(steps, source.truth)
        add(f"{variant.name}/truth_{kind}", soft)
    known = {
        "otsu_iou": effect_masks.mask_iou(otsu, mask),
        "subject_error": float(own.subject_error),
        "firefly_share": own.fireflies / mask.size,
    }
    pair = Pair(
        gt=own.gt,
        over=over,
        background=shared.background,
        foreground=shared.foreground,
        alpha=None,
        subject_mask=shared.subject_mask,
        effect_mask=mask,
        confidence=None,
        facts=known,
    )
    return {"numbers": quality.measure(pair), "white_steps": white}
