"""How many posts of a range are classified, as --sample says it. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER = re.compile(r"[0-9]{1,15}")
_SHARE = re.compile(r"([0-9]{1,3}(\.[0-9]{1,12})?)%|([01]?\.[0-9]{1,12})|1\.0+")


class Sample(NamedTuple):
    """A number of posts, or a share of them."""

    number: int | None = None
    share: float = 1.0

    def share_of(self, offsets: int) -> float:
        """The share to keep of a range with so many offsets.

        Offsets are not all posts, so that a number is met about, not exactly.
        """
        return self.share if self.number is None else min(1.0, self.number / max(offsets, 1))


def parse_sample(text: str) -> Sample:
    """What `--sample` asks for.

    Raises:
        ValueError: it is neither a number of posts nor a share of them.
    """
    share = _SHARE.fullmatch(text)
    if _NUMBER.fullmatch(text) and int(text):
        return Sample(number=int(text))
    if share:
        found = float(share[1]) / 100 if share[1] else float(text)
        if 0 < found <= 1:
            return Sample(share=found)
    raise ValueError(f"--sample {text}: write a number of posts (5000) or a share of them (0.1 or 10%)")
