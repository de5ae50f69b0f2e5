"""Optional heavy packages: imported when first used, never at the top of a module."""

import importlib
from typing import Any


def require(module: str, *, extra: str) -> Any:
    """Import module, or say which extra brings it.

    Raises:
        ImportError: with the pip command that installs the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise ImportError(f"{missing}; get it with: pip install 'effectpairs[{extra}]'") from missing
