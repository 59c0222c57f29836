"""The model artefact: a folder with everything that serving needs, and a manifest that pins it.

    manifest.json       what the model is, its calibration and scores, a hash of every file below
    config.json         the architecture, as Hugging Face transformers writes it
    tokenizer.json      the tokenizer, as Hugging Face tokenizers writes it
    model.safetensors   the weights, in half precision where we trained them, as published where they were
                        imported: for a GPU, for our own forward pass on a CPU, for further training
    openvino.xml, .bin  the graph for other CPUs: in 8 bits, or in single precision, and then for all
    reference.json      how sure the model is on validation texts, where it was written: see
                        `worker.model.reference`
    README.md, *.svg    the model card and its pictures: for people, not loaded, not pinned

Nothing here is ever unpickled, and a folder that holds a pickle is refused: loading one runs code.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import pickletools
import struct
import typing
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from worker.errors import ArtifactError
from worker.model.text import VERSIONS
from worker.types import EMOTIONS

FORMAT: Final = 1
"""The manifest's format that this release writes and reads."""

MANIFEST = "manifest.json"

_REQUIRED = ("config.json", "tokenizer.json")
_OPENVINO = ("openvino.xml", "openvino.bin")
_SAFETENSORS = "model.safetensors"
_PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_OPCODES = 64

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Of a model or a version: safe in file names, headers and metric labels."""

_Positive = Annotated[float, Meta(gt=0)]


class DataSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data set that the model was trained on."""

    name: str
    licence: str
    rows: Annotated[int, Meta(ge=0)]
    """Training rows taken from it, after removing duplicates."""


class NeutralGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When none of the emotions is expressed: sigmoid(logits[index] / temperature) >= threshold."""

    index: Annotated[int, Meta(ge=0)]
    """Of the logit; it follows those of the labels."""
    temperature: _Positive
    threshold: Annotated[float, Meta(ge=0, le=1)]
    softening: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    """How the emotions' temperature grows with the gate's logit: temperature * exp(softening * logit)."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file must be to be loaded."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model is. The meaning of its logits stands here, not in code."""

    format: Literal[1] = FORMAT
    name: Name
    version: Name
    labels: list[str]
    """The emotion of each of the first logits, in their order."""
    neutral: NeutralGate | None
    """None where the model has no gate."""
    temperature: _Positive
    """The labels' probabilities: softmax(logits[:len(labels)] / temperature), Guo et al. 2017."""
    architecture: str
    max_length: Annotated[int, Meta(ge=3, le=8192)]
    """Tokens a text is cut at, the two special ones included."""
    text_version: int
    """Of `worker.model.text.normalise`."""
    created: datetime
    base: str
    """The model that was fine-tuned, or imported."""
    data: list[DataSource]
    """What it was fine-tuned on; empty for an imported model, whose authors know."""
    scores: dict[str, dict[str, float]]
    """Measured figures by "data set/split", such as {"emotion/test": {"accuracy": 0.93}}."""
    files: dict[str, FileEntry] = {}
    """By name relative to the folder, with forward slashes."""


@dataclass(frozen=True)
class Artifact:
    """A folder that has been checked against its manifest."""

    path: Path
    manifest: Manifest

    @property
    def full_name(self) -> str:
        """`name@version`, as labels carry it."""
        return f"{self.manifest.name}@{self.manifest.version}"

    @property
    def logits(self) -> int:
        """How many numbers the network answers for a text."""
        return len(self.manifest.labels) + (self.manifest.neutral is not None)

    @property
    def config_path(self) -> Path:
        """`config.json`, of transformers."""
        return self.path / "config.json"

    @property
    def tokenizer_path(self) -> Path:
        """`tokenizer.json`, of tokenizers."""
        return self.path / "tokenizer.json"

    @property
    def safetensors_path(self) -> Path:
        """The weights; absent where the manifest does not list them."""
        return self.path / _SAFETENSORS

    @property
    def openvino_path(self) -> Path:
        """The graph, beside its `.bin`; absent where the manifest does not list it."""
        return self.path / _OPENVINO[0]

    def has(self, name: str) -> bool:
        """Whether the manifest lists the file."""
        return name in self.manifest.files


def load(path: Path) -> Artifact:
    """Read a model folder's manifest and check every file against it.

    Hashing the 70 MB of the bundled model takes about 0.1 s.

    Raises:
        ArtifactError: The folder is incomplete, altered or unsafe; it lists every problem.
    """
    manifest = _read_manifest(path)
    artifact = Artifact(path, manifest)
    verify(artifact)
    return artifact


def verify(artifact: Artifact) -> None:
    """Check a folder again, since `load` or a copy to somewhere else.

    Raises:
        ArtifactError: As for `load`.
    """
    problems = [
        *_meaning_problems(artifact.manifest),
        *_listing_problems(artifact),
        *_unlisted_problems(artifact),
        *(line for name in artifact.manifest.files for line in _file_problems(artifact, name)),
    ]
    if problems:
        raise ArtifactError(artifact.path, problems)


def write_manifest(path: Path, manifest: Manifest) -> Artifact:
    """Pin every file of a folder in its `manifest.json`, and load the result.

    Args:
        path: The folder, with all its other files in place.
        manifest: What to write; its `files` are replaced by what the folder holds.

    Raises:
        ArtifactError: The folder would be refused by `load`.
    """
    files = {
        name: FileEntry(sha256=_sha256(path / name), bytes=(path / name).stat().st_size)
        for name in sorted(_names(path))
        if name != MANIFEST and not _for_people(name) and (path / name).is_file()
    }
    pinned = msgspec.structs.replace(manifest, files=files)
    unfinished = path / f".{MANIFEST}"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(pinned), indent=2) + b"\n")
    unfinished.replace(path / MANIFEST)
    return load(path)


def convert_fields(raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> list[str]:
    """Everything that is wrong with a mapping that should become a struct, a line each.

    `msgspec.convert` stops at the first problem; people want to see them all.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    types = typing.get_type_hints(kind, include_extras=True)
    problems = [f"{name}: unknown field" for name in raw if name not in fields]
    for name, field in fields.items():
        if name not in raw:
            if field.required:
                problems.append(f"{name}: missing")
            continue
        try:
            msgspec.convert(raw[name], types[field.name])
        except msgspec.ValidationError as error:
            problems.append(f"{name}: {error}")
    return problems


def _read_manifest(path: Path) -> Manifest:
    """The manifest of a folder, or an ArtifactError with all that is wrong with it."""
    file = path / MANIFEST
    if not path.is_dir():
        raise ArtifactError(path, ["there is no such folder; give the path of a model folder"])
    if file.is_symlink() or not file.is_file():
        raise ArtifactError(path, [f"{MANIFEST} is missing or no plain file; `moodstream train` writes one"])
    try:
        raw = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(path, [f"{MANIFEST} is not JSON: {error}"]) from error
    if not isinstance(raw, dict):
        raise ArtifactError(path, [f"{MANIFEST} must be a JSON object"])
    if raw.get("format") != FORMAT:
        reason = f"{MANIFEST} has format {raw.get('format')!r}, this release reads {FORMAT}"
        raise ArtifactError(path, [f"{reason}: update moodstream, or train the model again"])
    problems = convert_fields(raw, Manifest)
    if problems:
        raise ArtifactError(path, [f"{MANIFEST}: {problem}" for problem in problems])
    return msgspec.convert(raw, Manifest)


def _meaning_problems(manifest: Manifest) -> Iterator[str]:
    """What no file is needed to see."""
    if not manifest.labels:
        yield "labels is empty: name the emotion of each logit, in their order"
    unknown = [label for label in manifest.labels if label not in EMOTIONS]
    if unknown:
        yield f"labels holds {unknown}, known are {list(EMOTIONS)}"
    if len(set(manifest.labels)) < len(manifest.labels):
        yield "labels names an emotion twice"
    if manifest.neutral is not None and manifest.neutral.index != len(manifest.labels):
        yield (
            f"neutral.index is {manifest.neutral.index}, but the neutral logit follows those of"
            f" the labels: {len(manifest.labels)}"
        )
    if manifest.text_version not in VERSIONS:
        reason = f"text_version {manifest.text_version} is unknown, known are {sorted(VERSIONS)}"
        yield f"{reason}: update moodstream"


def _listing_problems(artifact: Artifact) -> Iterator[str]:
    """What the manifest should list and does not."""
    for name in _REQUIRED:
        if not artifact.has(name):
            yield f"files does not list {name}, without which nothing can be loaded"
    graph = [name for name in _OPENVINO if artifact.has(name)]
    if len(graph) == 1:
        yield f"files lists {graph[0]} alone: the graph is {_OPENVINO[0]} and {_OPENVINO[1]}"
    if not graph and not artifact.has(_SAFETENSORS):
        yield f"files lists no weights: neither {_SAFETENSORS} nor {_OPENVINO[0]}"


def _unlisted_problems(artifact: Artifact) -> Iterator[str]:
    """What the folder holds and should not."""
    for name in sorted(_names(artifact.path)):
        if (artifact.path / name).is_symlink():
            yield f"{name} is a symbolic link: put the file itself there"
        elif not (name == MANIFEST or artifact.has(name) or _for_people(name)):
            yield f"{name} is not listed in the manifest: remove it, or train the model again"


def _file_problems(artifact: Artifact, name: str) -> Iterator[str]:
    """What is wrong with one listed file."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name or str(relative) != name:
        yield f"files lists {name!r}, which is no plain path inside the folder"
        return
    file, entry = artifact.path / name, artifact.manifest.files[name]
    if relative.suffix in _PICKLE_SUFFIXES and name != _OPENVINO[1]:
        yield f"{name} has the name of a pickle, which runs code when loaded: use safetensors"
    if any(parent.is_symlink() for parent in (file, *(file.parents[: len(relative.parts) - 1]))):
        return  # Reported with what the folder holds.
    if not file.is_file():
        yield f"{name} is missing: copy the whole folder again"
        return
    if (size := file.stat().st_size) != entry.bytes:
        yield f"{name} has {size} bytes and should have {entry.bytes}: copy the folder again"
    elif _sha256(file) != entry.sha256:
        yield f"{name} has another SHA-256 than the manifest says: copy the folder again"
    if _is_pickle(file):
        yield f"{name} is a pickle or a zip by its content, whatever its name: use safetensors"


def _is_pickle(file: Path) -> bool:
    """Whether a file holds a pickle: torch's zip, or bytes that read as pickle instructions.

    Weights can begin with any bytes, so a magic number alone would refuse one good graph in 16,000.
    A pickle's instructions parse up to its STOP; of random bytes three of four are none at all.
    """
    if file.stat().st_size == 0:  # Nothing can be mapped, and nothing is there.
        return False
    # A map, because a read of the length that an instruction claims would allocate it first.
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        if view[: len(_ZIP_MAGIC)] == _ZIP_MAGIC:
            return True
        return _reads_as_pickle(view)


def _reads_as_pickle(view: mmap.mmap) -> bool:
    marked = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Weights read as text hold "invalid escape sequences".
        try:
            instructions = pickletools.genops(view)  # type: ignore[arg-type] # It reads and tells.
            for count, (opcode, _, _) in enumerate(instructions):
                marked = marked or (count == 0 and opcode.name == "PROTO")
                if count >= _PICKLE_OPCODES:
                    return True
        except (ValueError, OverflowError, struct.error):
            return False
    return marked or view.tell() == len(view)


def _for_people(name: str) -> bool:
    return name == "README.md" or name.endswith((".png", ".svg"))


def _names(path: Path) -> Iterator[str]:
    """Every file and symbolic link below a folder, relative, with forward slashes."""
    for folder, folders, files in os.walk(path):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            yield (Path(folder) / name).relative_to(path).as_posix()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
