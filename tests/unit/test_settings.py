"""Settings come from flags and the environment; all that is wrong is told at once, without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from worker.configuration import known, load, shown
from worker.errors import ConfigurationError
from worker.settings import Settings

PASSWORD = "correct-horse"
SASL = {
    "MOODSTREAM_KAFKA__SECURITY_PROTOCOL": "sasl_ssl",
    "MOODSTREAM_KAFKA__SASL_MECHANISM": "PLAIN",
    "MOODSTREAM_KAFKA__SASL_USERNAME": "moodstream",
    "MOODSTREAM_KAFKA__SASL_PASSWORD": PASSWORD,
}


def variable(dotted: str) -> str:
    return "MOODSTREAM_" + dotted.upper().replace(".", "__")


def at(settings: Settings, dotted: str) -> Any:
    value: Any = settings
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def problems(env: dict[str, str], flags: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(flags, env)
    return list(caught.value.problems)


def test_nothing_given_is_the_defaults() -> None:
    assert load(env={}) == Settings()


def test_flags_are_stronger_than_the_environment_and_both_than_defaults() -> None:
    env = {"MOODSTREAM_BATCH__LINGER_MS": "1", "MOODSTREAM_BATCH__MAX_RECORDS": "2", "PATH": "/bin"}

    batch = load({"batch.linger_ms": "3"}, env).batch

    assert (batch.linger_ms, batch.max_records) == (3.0, 2)
    assert batch.max_tokens == Settings().batch.max_tokens


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOODSTREAM_WORKER__HTTP__PORT", "1234")

    assert load().worker.http.port == 1234


@pytest.mark.parametrize("dotted", [name for name in known() if at(Settings(), name) is not None])
def test_every_default_can_be_given_as_a_variable(dotted: str) -> None:
    default = at(Settings(), dotted)
    text = ",".join(default) if isinstance(default, tuple) else str(default)

    assert at(load(env={variable(dotted): text}), dotted) == default


@pytest.mark.parametrize("dotted", [name for name, field in known().items() if field.examples])
def test_every_example_is_accepted(dotted: str) -> None:
    for example in known()[dotted].examples:
        assert at(load(env={variable(dotted): example}), dotted) is not None


@pytest.mark.parametrize("dotted", known())
def test_every_setting_says_what_it_is_for(dotted: str) -> None:
    description = known()[dotted].description

    assert description
    assert description.endswith(".")


def test_inputs_are_a_list_of_topics() -> None:
    assert load(env={"MOODSTREAM_TOPICS__INPUTS": "posts, replies"}).topics.inputs == ("posts", "replies")


def test_weights_are_numbers_by_topic() -> None:
    settings = load({"topics.weights": "tweets=1, feedback=4"}, env={})
    assert settings.topics.weight_of == {"tweets": 1, "feedback": 4}
    for wrong in ("feedback", "feedback=0", "feedback=-1", "feedback=4=4"):
        assert "topics.weights" in problems({}, {"topics.weights": wrong})[0]


def test_everything_wrong_is_told_at_once_with_its_name_and_an_accepted_value() -> None:
    found = problems(
        {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": "no port",
            "MOODSTREAM_BATCH__MAX_RECORDS": "0",
            "MOODSTREAM_BATCH__MAX_RECORD": "1",
        },
        {"worker.http.port": "70000"},
    )

    assert len(found) == 4
    told = "\n".join(found)
    assert "MOODSTREAM_BATCH__MAX_RECORD: no such setting; did you mean batch.max_records?" in told
    assert "batch.max_records (MOODSTREAM_BATCH__MAX_RECORDS): " in told
    assert "accepted, for example: kafka-1:9092,kafka-2:9092" in told
    assert "worker.http.port (MOODSTREAM_WORKER__HTTP__PORT): " in told


def test_a_name_like_no_other_points_to_the_list() -> None:
    [problem] = problems({}, {"zzz.qqq": "1"})

    assert problem == "--set zzz.qqq: no such setting; `moodstream config` lists them all"


def test_the_cache_and_the_tests_own_variables_are_no_settings() -> None:
    env = {"MOODSTREAM_CACHE": "/tmp", "MOODSTREAM_TEST_STRICT": "1", "MOODSTREAM_TEST_DATA": "/data"}

    assert load(env=env) == Settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().batch.linger_ms = 1


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (
            {"MOODSTREAM_KAFKA__SECURITY_PROTOCOL": "sasl_ssl"},
            "security_protocol=sasl_ssl also needs sasl_mechanism, sasl_username, sasl_password",
        ),
        (
            {name: value for name, value in SASL.items() if not name.endswith("PASSWORD")},
            "security_protocol=sasl_ssl also needs sasl_password",
        ),
        (
            {"MOODSTREAM_KAFKA__SSL_KEY_LOCATION": "/key.pem"},
            "ssl_certificate_location and ssl_key_location go together",
        ),
        (
            {"MOODSTREAM_TOPICS__LABELS": "tweets"},
            "each topic needs a name of its own; used twice: tweets",
        ),
        (
            {"MOODSTREAM_TOPICS__MIN_INSYNC_REPLICAS": "2"},
            "min_insync_replicas cannot exceed replication_factor",
        ),
        (
            {"MOODSTREAM_TOPICS__WEIGHTS": "tweets=1,feedbak=4"},
            "weights names what is none of the inputs: feedbak",
        ),
        (
            {"MOODSTREAM_TOPICS__INPUT_FORMATS": "feedbak=avro"},
            "input_formats names what is none of the inputs: feedbak",
        ),
        (
            {"MOODSTREAM_TOPICS__INPUT_FORMATS": "tweets=xml"},
            "accepted, for example: tweets=avro,feedback=protobuf",
        ),
        (
            {"MOODSTREAM_REGISTRY__URL": f"http://user:{PASSWORD}@registry:8081"},
            "registry.url (MOODSTREAM_REGISTRY__URL): an http(s)://host:port",
        ),
        (
            {"MOODSTREAM_REGISTRY__PASSWORD": PASSWORD},
            "username and password go together",
        ),
        (
            {"MOODSTREAM_WORKER__MAX_POLL_INTERVAL_MS": "5000"},
            "max_poll_interval_ms cannot be shorter than session_timeout_ms",
        ),
        (
            {"MOODSTREAM_REDIS__URL": f"redis://user:{PASSWORD}@host:6379/0"},
            "put user name and password into redis.username and redis.password, not the URL",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other(env: dict[str, str], told: str) -> None:
    [problem] = problems(env)

    assert told in problem
    assert PASSWORD not in problem


def test_secrets_are_there_for_the_program_and_hidden_from_everyone_else() -> None:
    settings = load(env={**SASL, "MOODSTREAM_REDIS__PASSWORD": PASSWORD})

    assert settings.kafka.sasl_password is not None
    assert settings.kafka.sasl_password.get_secret_value() == PASSWORD
    assert shown(settings)["kafka"]["sasl_password"] == "**********"
    assert shown(settings)["redis"]["password"] == "**********"
    assert PASSWORD not in f"{settings!r} {shown(settings)}"
