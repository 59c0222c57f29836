"""What deploy/Dockerfile says of the images; `make image-proof` builds and runs the one for the CPU."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from worker.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
IGNORE = (ROOT / ".dockerignore").read_text().splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Stage(NamedTuple):
    """What stands under a FROM."""

    name: str
    base: str
    steps: list[tuple[str, str]]
    """Instruction and the rest of its line, in their order."""

    def last(self, instruction: str) -> str:
        """What the image would have of it."""
        return [rest for word, rest in self.steps if word == instruction][-1]


def read_stages() -> dict[str, Stage]:
    """The stages by name; the last one, which has none, is ""."""
    plain = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    found: dict[str, Stage] = {}
    for line in plain.replace("\\\n", " ").splitlines():
        word, _, rest = re.sub(r"\s+", " ", line).strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = stage = Stage(name, base, [])
        elif word and found:
            stage.steps.append((word, rest))
    return found


STAGES = read_stages()
FINAL = ["cpu", "gpu"]


def arguments(line: str) -> list[str]:
    """Of a COPY, without its flags."""
    return [word for word in line.split() if not word.startswith("--")]


class TestStages:
    def test_they_are_these_and_the_cpu_is_what_no_target_builds(self) -> None:
        assert list(STAGES) == ["base", "build", "build-cpu", "cpu", "build-gpu", "gpu", ""]
        assert STAGES[""] == ("", "cpu", [])

    def test_all_stand_on_one_base_that_is_pinned_by_its_version(self) -> None:
        [image] = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", TEXT, re.MULTILINE)

        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", image)
        assert {stage.base for stage in STAGES.values()} - STAGES.keys() == {"${PYTHON_IMAGE}"}

    @pytest.mark.parametrize("name", FINAL)
    def test_only_the_virtual_environment_comes_out_of_the_stages_that_build(self, name: str) -> None:
        assert STAGES[name].base == "base"
        copied = [rest for word, rest in STAGES[name].steps if word in ("COPY", "ADD")]
        assert copied == [f"--from=build-{name} /opt/moodstream /opt/moodstream"]

    @pytest.mark.parametrize("name", FINAL)
    def test_an_image_does_not_run_as_root(self, name: str) -> None:
        assert STAGES[name].steps[-1] == ("USER", "10001:10001")
        [made] = [rest for word, rest in STAGES["base"].steps if word == "RUN"]
        assert "--gid 10001" in made
        assert "--uid 10001" in made

    def test_no_shell_stands_before_the_program(self) -> None:
        """It would keep SIGTERM to itself."""
        assert json.loads(STAGES["base"].last("ENTRYPOINT")) == list(PROJECT["scripts"])
        assert json.loads(STAGES["base"].last("CMD")) == ["worker"]
        assert not {"ENTRYPOINT", "CMD"} & {word for name in FINAL for word, _ in STAGES[name].steps}

    def test_ports_are_the_settings_defaults(self) -> None:
        ports = (getattr(Settings(), name).http.port for name in ("worker", "trends", "quality", "source"))

        assert STAGES["base"].last("EXPOSE") == " ".join(map(str, ports))

    def test_labels_are_the_projects(self) -> None:
        labels = dict(
            re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', STAGES["base"].last("LABEL"))
        )

        assert labels == {
            "title": PROJECT["name"],
            "description": PROJECT["description"],
            "version": PROJECT["version"],
            "licenses": PROJECT["license"],
        }

    def test_only_the_gpus_image_has_a_compiler(self) -> None:
        """Triton asks for one at run time."""
        installing = {name for name, stage in STAGES.items() for _, rest in stage.steps if "apt-get" in rest}

        assert installing == {"gpu"}


class TestWhatGoesIn:
    def test_uv_is_the_makefiles(self) -> None:
        [ours] = re.findall(r"^ARG UV_VERSION=(\S+)$", TEXT, re.MULTILINE)
        [makefiles] = re.findall(r"^UV_VERSION *:?= *(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

        assert ours == makefiles

    def test_the_lock_file_says_what_is_installed(self) -> None:
        syncs = [rest for stage in STAGES.values() for _, rest in stage.steps if "uv sync" in rest]

        assert len(syncs) == 3
        assert all("uv sync --frozen --no-default-groups ${EXTRAS}" in line for line in syncs)

    def test_what_builds_the_wheel_is_pinned_too(self) -> None:
        content = tomllib.loads((ROOT / "pyproject.toml").read_text())
        pinned = {line.partition("==")[0] for line in content["tool"]["uv"]["build-constraint-dependencies"]}

        hook = re.findall(r'\["([a-z]+)>=[\d.]+"\]', (ROOT / "hatch_build.py").read_text(encoding="utf-8"))
        assert hook, "what hatch_build.py asks for where there is no compiler"
        assert pinned == {*(line.partition(">=")[0] for line in content["build-system"]["requires"]), *hook}

    def test_extras_are_the_projects(self) -> None:
        named = set(re.findall(r"--extra (\w+)", TEXT))

        assert named == {"quality", "registry", "sources", "tracing", "gpu"}
        assert named <= PROJECT["optional-dependencies"].keys()

    def test_what_is_copied_exists_and_reaches_the_builder(self) -> None:
        copied = {
            source
            for stage in STAGES.values()
            for word, rest in stage.steps
            if word == "COPY" and "--from" not in rest
            for source in arguments(rest)[:-1]
        }

        assert copied
        assert all((ROOT / source).exists() for source in copied)
        assert {line[1:] for line in IGNORE if line.startswith("!")} == copied

    def test_all_else_stays_outside(self) -> None:
        rules = [line for line in IGNORE if line and not line.startswith("#")]

        assert rules[0] == "*"
        assert {"**/__pycache__", "**/.env"} <= set(rules[1:])

    def test_no_secret_is_written_down(self) -> None:
        """What is secret is mounted for one step; arguments stay in an image's history."""
        declared = set(re.findall(r"^(?:ARG|ENV) (\w+)", TEXT, re.MULTILINE))

        assert {name for name in declared if re.search("TOKEN|PASSWORD|SECRET|KEY|USER", name)} == set()
        assert set(re.findall(r"--mount=(\S+)", TEXT)) == {
            "type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt"
        }
