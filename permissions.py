"""Keys that may go to a host, and settings that the caller of a deployment may choose, by the environment.

Settings files and the parameters of a deployment are written by others than those who start the process. Neither names
any environment variable it likes as a key and any address to send it to; and whoever starts a deployment chooses no
program, no key, no address, and no folder but those that the serving process was started with. See `docs/security.md`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .settings import apply_override
from .untrusted_input import shortened

KEYS_VARIABLE = "EFFECTPAIRS_API_KEYS"
"""Environment variable with keys and their hosts: NAME@HOST or NAME@HOST:PORT, separated by commas."""
KNOWN_KEYS = ("OPENAI_API_KEY@api.openai.com",)
"""Keys whose host is known without being named."""
PLACES_VARIABLE = "EFFECTPAIRS_PLACES"
"""Environment variable with folders, files, URLs and addresses that deployments may name, separated by commas."""
SERVER_SETTINGS = frozenset({"api_key_env", "base_url", "python_path", "trust_remote_code", "trackers"})
"""Settings that the caller of a deployment may not choose: they send keys, run programs, or run a model's own code."""
PLACE_SETTINGS = frozenset(
    {"root", "scenes", "prompts", "corpus", "output", "cache_folder", "models", "skies", "assets", "cache"}
)
"""Settings that are paths, also where they look like words; others count as paths if they look like such."""
TEXT_SETTINGS = frozenset({"origin", "licence", "fixed_caption", "prompt", "negative_prompt"})
"""Settings that are texts, also where a path or an address stands in them."""


def read_api_key(name: str, base_url: str) -> str:
    """Return the key in an environment variable for an address; empty where the variable is not set.

    Raises:
        ValueError: the variable is not for that host, with the way to say that it is.
    """
    host, port = urlsplit(base_url).hostname or "", urlsplit(base_url).port
    pairs = [pair.strip() for pair in (*KNOWN_KEYS, *os.environ.get(KEYS_VARIABLE, "").split(","))]
    if not {f"{name}@{host}", f"{name}@{host}:{port}"} & set(pairs):
        address = f"{host}:{port}" if port else host
        raise ValueError(
            f"api_key_env={name!r} is no key for {address}, so it is not sent there; if it is, say so where the run is "
            f"started: export {KEYS_VARIABLE}={name}@{address}"
        )
    return os.environ.get(name, "").strip()


def check_call(overrides: Iterable[str] = (), *, places: Iterable[str] = (), files: Iterable[str] = ()) -> None:
    """Check what the caller of a deployment chose.

    Args:
        overrides: settings to change, each as `key=value`.
        places: folders, URLs or addresses; empty ones are not looked at.
        files: settings files, or the names of those that come with the package.

    Raises:
        ValueError: naming what may not be chosen, and how the serving process could allow it.
    """
    for place in filter(None, places):
        _check_place(place)
    for file in filter(None, files):
        if not re.fullmatch(r"[\w-]+", file):
            _check_place(file)
    for override in overrides:
        values: dict[str, Any] = {}
        apply_override(values, override)
        for path, value in _leaves(values, ""):
            name = path.rpartition(".")[2]
            if name in SERVER_SETTINGS:
                raise ValueError(
                    f"{shortened(path)} is not for the caller of a deployment to choose; set it in a settings file "
                    "that is served"
                )
            if isinstance(value, str) and name not in TEXT_SETTINGS and (name in PLACE_SETTINGS or _is_path(value)):
                _check_place(value)


def allowed_places() -> list[str]:
    """The places that deployments may name: those of EFFECTPAIRS_PLACES, or the working folder alone."""
    return [place.strip() for place in os.environ.get(PLACES_VARIABLE, ".").split(",") if place.strip()]


def _check_place(place: str) -> None:
    parts = re.split(r"[/\\]", place)
    if "://" in place or (":" in place and "/" not in place):  # a URL, or HOST:PORT
        is_allowed = ".." not in parts and any(
            place == allowed or place.startswith(f"{allowed.rstrip('/')}/")
            for allowed in allowed_places()
            if ":" in allowed
        )
    else:
        path = Path(place).expanduser().resolve()
        is_allowed = "$" not in place and any(
            path.is_relative_to(Path(allowed).expanduser().resolve()) for allowed in allowed_places()
        )
    if not is_allowed:
        raise ValueError(
            f"{shortened(place)!r} is not among the places that deployments may name; start the process that serves "
            f"with it in {PLACES_VARIABLE} (folders, files, URLs and addresses, separated by commas)"
        )


def _is_path(value: str) -> bool:
    return value.startswith(("/", "~")) or "://" in value or "$" in value or ".." in re.split(r"[/\\]", value)


def _leaves(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    """Every plain value in nested tables and lists, with the keys that lead to it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if not value:
            yield path, None
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value
