"""The bearer token that guards what changes state.

    guard = token_guard(settings.trends.http, "trends.http.token")

    @router.post("/api/corrections", dependencies=[Depends(guard)], responses=REFUSALS)

No cookie and no password in a URL is ever taken: a header that only the caller's own code can set is also
what keeps other web pages from writing through a visitor's browser.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import compare_digest
from typing import Annotated, Any

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from worker.settings import ENV_PREFIX, HttpSettings
from worker.web.problems import Problem

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No bearer token, or a wrong one: `unauthorized`."},
    403: {"model": Problem, "description": "This server has no token, so nobody may change it: `forbidden`."},
}
"""For the `responses` of a guarded route: what /openapi.json says of it."""

_SCHEME = HTTPBearer(auto_error=False, description="The value of the role's setting `http.token`.")
_REALM = 'Bearer realm="moodstream"'

Guard = Callable[..., None]


def token_guard(http: HttpSettings, setting: str) -> Guard:
    """A dependency that lets only requests with `Authorization: Bearer <http.token>` through.

    `setting` is the token's dotted name (`trends.http.token`), for whoever reads the refusal.

    The guard raises HTTPException: 401 with WWW-Authenticate (RFC 6750) where the token is missing or wrong,
    403 where the settings hold none. A nearly right token takes as long to refuse as a wrong one.
    """
    expected = None if http.token is None else http.token.get_secret_value().encode()

    def guard(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)]) -> None:
        if expected is None:
            variable = ENV_PREFIX + setting.upper().replace(".", "__")
            raise HTTPException(
                403, f"nothing can be changed here: set {setting} ({variable}) and start this role again"
            )
        if given is None:
            raise HTTPException(
                401, f"send Authorization: Bearer and the value of {setting}", {"WWW-Authenticate": _REALM}
            )
        # Headers arrive as Latin-1, whatever the bytes were.
        if not compare_digest(given.credentials.encode("latin-1", "replace"), expected):
            raise HTTPException(
                401,
                f"the bearer token is not the value of {setting}",
                {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
            )

    return guard
