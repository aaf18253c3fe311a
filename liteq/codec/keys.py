"""Reading the keys that a queue is given; no message ever shows one."""

from __future__ import annotations

from liteq.errors import ConfigurationError

__all__ = ["read_keys"]


def read_keys(option: str, what: str, value: object, least: int) -> list[bytes]:
    """Return the keys that an option was given: one, or a list of them.

    Args:
        option: the option's name.
        what: what such a key is called, with its article.
        value: what was given; not None.
        least: bytes that a key must have at least.

    Raises:
        ConfigurationError: not a key or a list of keys, or a key that is too short.
    """
    listed = value if isinstance(value, list | tuple) else [value]
    if not listed:
        raise ConfigurationError(f"{option} is an empty list; give at least one key, or None.")
    return [_key(option, what, key, least) for key in listed]


def _key(option: str, what: str, key: object, least: int) -> bytes:
    if not isinstance(key, str | bytes):
        raise ConfigurationError(
            f"{option} takes bytes, a string, or a list of them, not {type(key).__name__}."
        )
    try:
        written = key.encode() if isinstance(key, str) else key
    except UnicodeEncodeError:
        # Without its cause, which would show the key.
        raise ConfigurationError(f"{what} cannot be written as UTF-8; give it as bytes.") from None
    if len(written) < least:
        raise ConfigurationError(
            f"{what} must have at least {least} bytes, and this one has {len(written)}; make one with "
            "secrets.token_hex(32)."
        )
    return written
