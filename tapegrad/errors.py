"""Every exception that tapegrad raises by itself.

Each one is also a subclass of the built-in exception that users already catch, and its message says what was got,
what was expected, and what to do.
"""

__all__ = [
    "AnomalyError",
    "DeviceError",
    "DtypeError",
    "ForeignWriteError",
    "HistoryError",
    "KinkError",
    "LeafError",
    "LostGradientError",
    "MissingPackageError",
    "OutOfMemoryError",
    "ShapeError",
    "TapegradError",
    "UnsupportedError",
]


class TapegradError(Exception):
    """Base class of every error that tapegrad raises by itself."""


class ShapeError(TapegradError, ValueError):
    """An array, a cotangent or the result of a rule has the wrong shape."""


class DtypeError(TapegradError, TypeError):
    """A dtype has no derivative, or no place in a tensor at all (object, string, datetime)."""


class DeviceError(TapegradError, TypeError):
    """Operands live on different devices, or the device asked for is not there."""


class HistoryError(TapegradError, RuntimeError):
    """There is no history to replay: nothing was tracked, or it was released by an earlier replay."""


class LeafError(TapegradError, RuntimeError):
    """A tracked leaf was about to be overwritten, which would cut it off from its own gradient."""


class LostGradientError(TapegradError, TypeError):
    """A conversion would drop a gradient unseen; `item()` and `detach()` drop it on purpose."""


class UnsupportedError(TapegradError, TypeError):
    """A function or keyword has no derivative rule; the message names what can be used instead."""


class OutOfMemoryError(TapegradError, MemoryError):
    """A device has no memory left for an array; the message says how to need less of it."""


class AnomalyError(TapegradError, FloatingPointError):
    """A value or a cotangent became infinite or NaN; the message says by which operation, where, and from what."""


class KinkError(TapegradError, ArithmeticError):
    """A derivative was taken exactly at a kink, where `strict` does not let the convention decide."""


class ForeignWriteError(TapegradError, RuntimeError):
    """What a rule keeps was written to behind the tape's back; the message names the operation and what it kept."""


class MissingPackageError(TapegradError, ImportError):
    """An optional package is absent; the message holds the command that installs it."""

    @classmethod
    def of(cls, package: str, purpose: str, extra: str) -> "MissingPackageError":
        """Return the error for `package`, wanted for `purpose` and installed by tapegrad's `extra`."""
        return cls(f"{purpose} needs the package {package}, which is not installed; pip install 'tapegrad[{extra}]'")
