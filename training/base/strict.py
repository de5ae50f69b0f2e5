"""For settings classes that are read from files: `__pydantic_config__ = STRICT` refuses a key that they do not know."""

from typing import Any

STRICT: Any = {"extra": "forbid"}
