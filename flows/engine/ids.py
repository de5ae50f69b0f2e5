"""Names of files and prompts as parts of ids."""

import re


def plain_name(name: str) -> str:
    """A file's name as part of an id: letters, digits and a few signs that need no quoting anywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "clip"
