"""The compiled cutting of texts, if there is one for this machine."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("words.so")

log = logging.getLogger(__name__)


@cache
def library() -> ctypes.CDLL | None:
    """With the types of its functions; None where there is none."""
    if not FILE.is_file():
        return None
    try:
        loaded = ctypes.CDLL(str(FILE))
    except OSError as error:  # made for another C library, or what the system does not let us run
        log.warning("%s cannot be loaded: %s", FILE.name, error)
        return None
    loaded.moodstream_words_open.argtypes = [ctypes.c_uint32]
    loaded.moodstream_words_open.restype = ctypes.c_void_p
    loaded.moodstream_words_close.argtypes = [ctypes.c_void_p]
    loaded.moodstream_words_close.restype = None
    loaded.moodstream_words_scan.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    loaded.moodstream_words_scan.restype = ctypes.c_int64
    loaded.moodstream_words_tokens.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    loaded.moodstream_words_tokens.restype = None
    return loaded
