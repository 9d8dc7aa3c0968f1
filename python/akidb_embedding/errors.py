"""What can go wrong: one class a kind, all of them an `EmbedError`."""

from __future__ import annotations


class EmbedError(Exception):
    """Whatever the library says went wrong."""

    message: str
    """What failed and why."""
    hint: str | None
    """What would help, where that is known."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the words; `str` has both."""
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the fields: exceptions go from workers to whoever waits for them."""
        return (_again, (type(self), self.__dict__.copy()))


def _again(kind: type[EmbedError], fields: dict[str, object]) -> EmbedError:
    error = kind(**fields)  # type: ignore[arg-type]
    return error


class ModelNotFoundError(EmbedError, LookupError):
    """There is no such model or variant, or none was named."""


class ModelFilesError(EmbedError):
    """A file of the model is missing, broken, too large or contradicts another."""


class BackendError(EmbedError, RuntimeError):
    """No backend runs the model, or the one that does failed."""


class OptionError(EmbedError, ValueError):
    """An option, or a setting of the environment, doesn't fit the model or the others."""


class CorpusError(EmbedError):
    """Files of a corpus can't be read or written, have changed, or too many rows have failed."""


class ClosedError(EmbedError, ValueError):
    """The model was closed."""


class ForkedError(EmbedError, RuntimeError):
    """The model belongs to the process that this one was forked from."""


class TextError(EmbedError, ValueError):
    """A text can't be embedded."""

    index: int | None
    """Its position in the call, from 0."""

    def __init__(self, message: str, *, hint: str | None = None, index: int | None = None) -> None:
        """Keep the words and the position."""
        super().__init__(message, hint=hint)
        self.index = index


class NotTextError(TextError, TypeError):
    """What stands in a text's place is none: None, a null, a number."""


class TooLongError(TextError):
    """The text is longer than allowed, and `on_long="error"` was said."""


class NotFiniteError(TextError):
    """The model overflowed on the text."""
