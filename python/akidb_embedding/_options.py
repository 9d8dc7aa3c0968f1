"""Keywords that load a model, and those that embed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import OptionError

if TYPE_CHECKING:
    from ._native import EmbedderOptions, EmbedOptions

_EMBEDDER = (
    "variant",
    "precision",
    "backend",
    "threads",
    "pooling",
    "output",
    "provider",
    "onnxruntime_library",
)
_EMBED = (
    "role",
    "instruction",
    "prompt",
    "prompt_name",
    "dim",
    "normalize",
    "encoding",
    "max_tokens",
    "on_long",
)


def split(
    options: dict[str, Any], others: tuple[str, ...] = ()
) -> tuple[EmbedderOptions, EmbedOptions]:
    """Tell what loads a model from what embeds with it; `others` were there to choose from, too."""
    for name in options:
        if name not in _EMBEDDER and name not in _EMBED:
            known = ", ".join(others + _EMBEDDER + _EMBED)
            raise OptionError(f"there is no option {name!r}", hint=f"there are: {known}")
    load: Any = {name: options[name] for name in _EMBEDDER if options.get(name) is not None}
    embed: Any = {name: options[name] for name in _EMBED if options.get(name) is not None}
    return load, embed
