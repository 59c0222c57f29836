"""`POST /api/corrections`: a person says what a post really expresses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints

from worker.clock import Clock
from worker.trends.api.ask import ERRORS
from worker.trends.corrections import Corrections
from worker.types import Correction, LabelName
from worker.web.problems import BadQueryError, Problem
from worker.web.token import REFUSALS, Guard

_REF = re.compile(r"([a-zA-Z0-9._-]{1,249})/[0-9]{1,10}/[0-9]{1,19}")
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"

PostId = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Corrected(BaseModel):
    """What somebody says."""

    model_config = ConfigDict(extra="forbid")

    id: StrictInt | PostId = Field(description="The post's id.", examples=["1841", 1841])
    label: LabelName = Field(description="What the post expresses.")
    label_ref: str = Field(
        max_length=290,
        description="`topic/partition/offset` of the label, as samples and the live stream give it.",
        examples=["emotion-labels/3/1841"],
    )
    by: str = Field(
        default="page", min_length=1, max_length=64, pattern=_NO_CONTROLS, description="Who says so."
    )


class Kept(BaseModel):
    """Where the correction is."""

    ref: str = Field(description="`topic/partition/offset` of the correction.")
    at: datetime = Field(description="When it came, by this server's clock.")


class CorrectionAnswer(BaseModel):
    """Kafka has confirmed the correction; whoever reads the topic takes it from there."""

    status: Literal["success"] = "success"
    data: Kept


def corrections_router(corrections: Corrections, labels_topic: str, clock: Clock, guard: Guard) -> APIRouter:
    """The route of corrections; `guard` is asked before anything else."""
    router = APIRouter(prefix="/api", tags=["corrections"])
    errors = {
        **ERRORS,
        **REFUSALS,
        503: {
            "model": Problem,
            "description": "Kafka has not confirmed it: `unavailable`; send it again after Retry-After. "
            "The last correction of a label counts, so one that arrives twice changes nothing.",
        },
    }

    @router.post(
        "/corrections",
        status_code=202,
        response_model=CorrectionAnswer,
        responses=errors,
        dependencies=[Depends(guard)],
        summary="Correct a label",
    )
    def correct(said: Corrected) -> Any:
        found = _REF.fullmatch(said.label_ref)
        if found is None or found[1] != labels_topic:
            raise BadQueryError(f"label_ref must be {labels_topic}/partition/offset")
        at = datetime.fromtimestamp(clock.time(), UTC)
        correction = Correction(id=said.id, label=said.label, label_ref=said.label_ref, by=said.by, at=at)
        return {"data": {"ref": str(corrections.send(correction)), "at": at}}

    return router
