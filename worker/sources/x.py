"""X API v2's filtered stream: posts that match rules, a line of JSON each, an empty line every 20 s.

The stream has no cursor. What comes twice after a break is recognised by its id, as far back as the window
reaches; what was missed comes only where `backfill_minutes` may be asked for.
https://docs.x.com/x-api/posts/filtered-stream/introduction
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from worker.errors import DependencyError
from worker.sources.api import Api, CutError, Lines, RefusedError
from worker.sources.edges import Around, Item
from worker.sources.timing import pause
from worker.sources.window import Window
from worker.sources.x_rules import Rule, agree
from worker.sources.x_waits import Waits
from worker.stream.envelopes import unwrap
from worker.types import Post

_STREAM = "/2/tweets/search/stream"
_FIELDS = "created_at,lang,author_id,in_reply_to_user_id"
_SILENT_S = 30.0
"""An empty line comes every 20 s."""
_QUIET_S = 0.5
_FINAL = {
    400: "check source.x.server and backfill_minutes",
    401: "check source.x.token",
    403: "the access level of source.x.token does not allow this; source.x.backfill_minutes may need another",
    404: "check source.x.server",
    409: "there are no rules: check source.x.rules_file",
}
_MOST_TITLE = 100

log = logging.getLogger(__name__)


class _Problem(msgspec.Struct):
    title: str = ""
    disconnect_type: str | None = None
    connection_issue: str | None = None


class _Data(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Line(_Problem):
    """A post, what is wrong, or both (a post of which something could not be told)."""

    data: _Data | None = None
    errors: list[_Problem] = []


_line = msgspec.json.Decoder(_Line).decode


class XFeed:
    """Posts that match the rules, for ever. The cursor of its items is always None."""

    def __init__(
        self,
        api: Api,
        rules: Sequence[Rule] | None,
        window: Window,
        around: Around,
        *,
        backfill_minutes: int = 0,
        silent_s: float = _SILENT_S,
        name: str = "x",
    ) -> None:
        """`window`: the keys of what was written lately."""
        self.name = name
        self._api = api
        self._rules = rules
        self._window = window
        self._clock = around.clock
        self._stop = around.stop
        self._silent_s = silent_s
        self._told = around.told
        self._counted = around.counted
        self._query = {"tweet.fields": _FIELDS}
        if backfill_minutes:
            self._query["backfill_minutes"] = str(backfill_minutes)

    def items(self, cursor: int | None) -> Generator[Item | None]:
        waits = Waits(self._clock)
        agreed = False
        while not self._stop.is_set():
            try:
                if not agreed:
                    self._agree()
                    agreed = True
                with self._api.stream(_STREAM, self._query, silent_s=self._silent_s) as lines:
                    self._told(True, "")
                    for item in self._posts(lines):
                        if item is not None:
                            waits.worked()
                        yield item
                return
            except CutError as cut:
                why, wait_s = str(cut), waits.cut()
            except RefusedError as refused:
                if refused.status in _FINAL:
                    raise DependencyError(
                        "x", f"{self._api.server} answers {refused.status}: {_FINAL[refused.status]}"
                    ) from refused
                why, wait_s = str(refused), waits.refused(refused.status, refused.headers)
            self._told(False, why)
            yield from pause(self._clock, self._stop, wait_s)

    def _agree(self) -> None:
        done = agree(self._api, self._rules, self.name)
        log.info(
            "%s: %d rules: %d new, %d deleted",
            self.name,
            done.stay + len(done.add),
            len(done.add),
            len(done.delete),
        )

    def _posts(self, lines: Lines) -> Iterator[Item | None]:
        """What the stream brings until it breaks or we are to stop."""
        while not self._stop.is_set():
            line = lines.take(_QUIET_S)
            yield None if not line else self._item(line)

    def _item(self, line: bytes) -> Item | None:
        """A post as it came; None for one that was written before, and for what is no post.

        Raises:
            CutError: X says that this was all.
        """
        try:
            said = _line(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Item(line, readable=False)  # a worker says what is wrong with it, and keeps it
        if said.data is not None:
            return self._post(line, said.data.id.encode(errors="replace"))
        problems = [*said.errors, *([said] if said.title else [])]
        if not problems:
            return Item(line, readable=False)
        self._counted("error")
        why = "; ".join(problem.title[:_MOST_TITLE] for problem in problems)
        if any(problem.disconnect_type or problem.connection_issue for problem in problems):
            raise CutError(f"X says: {why}")
        log.warning("%s: X says: %s", self.name, why)
        return None

    def _post(self, line: bytes, key: bytes) -> Item | None:
        if not self._window.add(key):
            self._counted("duplicate")
            return None
        post = unwrap(line)
        readable = isinstance(post, Post) and post.source == "x"
        at = post.created_at if isinstance(post, Post) else None
        return Item(line, key, None, at.timestamp() if isinstance(at, datetime) else None, readable=readable)
