"""Every error that moodstream raises on purpose, in one tree.

    MoodstreamError
    ├── ConfigurationError     the settings or the command line are wrong          exit 2
    │   └── ArtifactError      the model folder is incomplete, altered or unsafe   exit 2
    ├── DependencyError        Kafka or Redis cannot be reached or refuses us      exit 3
    │   └── StoreUnavailableError  (trends) Redis is away: waited for              never leaves the loop
    │       └── StoreRefusedError  (trends) Redis does not want us                 exit 3
    ├── RegistryAwayError      (formats) the schema registry is away: waited for   never leaves the loop
    ├── NotThereError          (formats) the registry has no such schema           never leaves formats
    ├── RejectedError          (formats) the registry takes no such schema         never leaves formats
    ├── UnusableSchemaError    (formats) nothing can be read with a schema         never leaves formats
    ├── AbortedError           (stream) a publication did not happen: done again   never leaves the loop
    ├── OffsetLostError        (trends) Redis stands elsewhere: read from there    never leaves the loop
    ├── UnansweredError        (quality) Kafka did not answer: asked again         never leaves the loop
    ├── RequestError           (web) a request that is not done                    answered with its status
    │   ├── BadQueryError      it makes no sense                                   400
    │   ├── NotFoundError      what it asks about is not there                     404
    │   ├── ConflictError      not as things stand                                 409
    │   ├── TooManyError       as many as can be are being served                  503
    │   ├── BadTextsError      (stream) texts to label that cannot be              4xx
    │   ├── NotNowError        (stream) the model has no time for them             503
    │   └── NoAnswerError      (stream) the model fails on them                    500
    ├── ServerDiedError        (web) the HTTP server ended by itself               exit 1
    ├── AlertsDiedError        (trends) the thread that finds spikes ended         exit 1
    ├── EngineError            (cluster) Spark gave up on a job                    exit 1
    ├── DataLossAvertedError   going on would lose or double records               exit 4
    └── BadRecordError         one input record cannot be labelled: dead letter    never leaves the loop

An error carries the facts as attributes; its message says what to do next. No message holds post
text: messages reach logs and headers.
"""

from __future__ import annotations

from collections.abc import Sequence


class MoodstreamError(Exception):
    """Base of all; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigurationError(MoodstreamError):
    """The settings or the command line are wrong; `problems` lists every one of them."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ArtifactError(ConfigurationError):
    """A model folder that must not be served; `path` says which."""

    def __init__(self, path: object, problems: Sequence[str]) -> None:
        self.path = str(path)
        super().__init__([f"model {self.path}: {problem}" for problem in problems])


class DependencyError(MoodstreamError):
    """A server this role needs cannot be reached, or refuses us, for good."""

    exit_code = 3

    def __init__(self, dependency: str, reason: str) -> None:
        self.dependency = dependency
        self.reason = reason
        super().__init__(f"{dependency}: {reason}")


class UnansweredError(MoodstreamError):
    """Kafka did not answer one question, or took no record, in time: to be asked again."""


class DataLossAvertedError(MoodstreamError):
    """The role stopped because going on would have lost or doubled records."""

    exit_code = 4


class BadRecordError(MoodstreamError):
    """One record that cannot be labelled.

    `kind` is a stable, bounded name (`invalid_json`, `missing_text`, ...) fit for a metric label and
    a dead letter's header; `reason` says more, without the record's text.
    """

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(f"{kind}: {reason}")
