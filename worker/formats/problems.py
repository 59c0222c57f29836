"""Schemas that nothing can be read with, and messages that are none of ours. Pure."""

from __future__ import annotations

from worker.errors import BadRecordError, MoodstreamError

_FIELD_PROBLEMS = {
    "missing required field `id`": ("missing_id", "there is no id"),
    "missing required field `text`": ("missing_text", "there is no text"),
    "`$.created_at`": ("invalid_time", "created_at is neither RFC 3339 nor a number"),
}
"""Not the errors themselves: one that is raised again keeps all tracebacks of before, and so all records."""


class UnusableSchemaError(MoodstreamError):
    """No message of this schema can be read, by us or at all."""


def explained(error: Exception) -> BadRecordError:
    """What is wrong with a message that could be read and is none of ours; only bad records pay for it.

    Its kind is `missing_id`, `missing_text`, `invalid_time` or `wrong_type`.
    """
    reason = str(error)
    problems = (problem for part, problem in _FIELD_PROBLEMS.items() if part in reason)
    return BadRecordError(*next(problems, ("wrong_type", reason)))
