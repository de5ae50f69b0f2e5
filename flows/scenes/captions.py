"""Which clips of a scene are captioned, and what the scene says of them."""

from ...datasets.store.store import StageResult
from ..captions.job import SEEN, CaptionJob, stored
from .layers import OWN, SHARED
from .source import SceneSource
from .steps import SceneJob


def of_scene(job: SceneJob, source: SceneSource, result: StageResult) -> list[CaptionJob]:
    """A scene's finished variants."""
    jobs = []
    for variant in job.scene.variants:
        made = result.facts["variants"][variant.name]
        if "refused" in made:
            continue
        names = {name: name for name in SHARED} | {name: f"{variant.name}/{name}" for name in OWN}
        layers = {name: stored(result, names[name]) for name in SEEN}
        words = [effect.word for effect in variant.effects]
        for effect in variant.effects:
            if words.count(effect.word) == 1:
                layers[f"own/{effect.word}"] = stored(result, f"{variant.name}/truth_{effect.kind}")
        jobs.append(
            CaptionJob(
                clip_id=job.clip_id(source, variant),
                fps=job.scene.fps,
                layers=layers,
                effects=tuple(made["effects"]),
                facts=made["facts"],
                subject=made["facts"]["subject"],
            )
        )
    return jobs
