"""Every source as a deployment of its flow: `prefect deployment run real-pairs/NAME`; `corpus/publish` beside them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import serve
from prefect.types.entrypoint import EntrypointType

from ..datasets.sources.source import source_names
from ..permissions import PLACES_VARIABLE, allowed_places
from .corpus import publish
from .real_pairs import real_pairs
from .sources import load_any
from .synthetic_pairs import synthetic_pairs
from .training import training
from .unpaired import unpaired

MODULE = EntrypointType.MODULE_PATH
"""A flow loaded by its file's path has no package, and its relative imports fail."""
FLOWS: dict[str, Any] = {flow.name: flow for flow in (real_pairs, synthetic_pairs, unpaired)}


def deployments(sources: Sequence[str], workspace: str, corpus: str) -> list[Any]:
    """The deployments of the named sources (settings files are named by their stem), and of publishing."""
    deployed = []
    for source in sources or source_names():
        settings = load_any(source)
        where = str(Path(source).resolve()) if source.endswith(".toml") else source
        deployed.append(
            FLOWS[settings.flow].to_deployment(
                name=settings.name,
                entrypoint_type=MODULE,
                parameters={"source": where, "workspace": workspace},
                description=f"{settings.origin} ({settings.licence})",
                tags=["effectpairs", settings.kind],
            )
        )
    options: dict[str, Any] = {"entrypoint_type": MODULE, "tags": ["effectpairs"]}
    where_to = {"corpus": corpus, "workspace": workspace}
    config = {"config": "tiny", "overrides": [f"corpus={corpus}"]}
    deployed.append(publish.to_deployment(name="publish", parameters=where_to, **options))
    deployed.append(training.to_deployment(name="tiny", parameters=config, **options))
    return deployed


def serve_all(sources: Sequence[str], workspace: str, corpus: str) -> None:
    """Serve the deployments to the Prefect server of PREFECT_API_URL until interrupted."""
    served = [*allowed_places(), workspace, corpus]
    served += [str(Path(source).resolve()) for source in sources if source.endswith(".toml")]
    os.environ[PLACES_VARIABLE] = ",".join(served)  # runs are children of this process
    # Two runs at once would share the machine's cores and memory, which each takes for its own.
    serve(*deployments(sources, workspace, corpus), limit=1)
