"""Where a published checkpoint lies: a folder here, or one fetched from the Hugging Face hub."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from worker.errors import ConfigurationError, DependencyError

FILES = (
    *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt"),
)
"""All that is ever fetched. No pickle, no code."""


@dataclass(frozen=True)
class Place:
    """A folder of transformers' files."""

    name: str
    """As people know it: the hub's id, or the folder's name. Never a path."""
    folder: Path
    names: frozenset[str]
    """The files there are; of a model on the hub also those that were not fetched."""


def find(model: str) -> Place:
    """The folder of that name, or what the hub has under that id.

    Raises:
        ConfigurationError: There is neither.
        DependencyError: The hub cannot be reached and this machine has no copy.
    """
    folder = Path(model)
    if folder.is_dir():
        return Place(folder.resolve().name, folder, _names(folder))
    if folder.exists():
        raise ConfigurationError([f"{model} is a file: give the folder that it lies in"])
    fetched = _fetch(model)
    return Place(model, fetched, _names(fetched) | _published(model))


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir() if path.is_file())


def _fetch(model: str) -> Path:
    """A copy of the wanted files, in the cache of the hub's client."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES)))
    except HFValidationError as error:
        raise ConfigurationError(
            [f"{model} is neither a folder here nor an id of the Hugging Face hub, such as owner/name"]
        ) from error
    except GatedRepoError as error:
        raise ConfigurationError(
            [f"{model}: its owner gives it to those who asked for it: ask on its page, then `hf auth login`"]
        ) from error
    except RepositoryNotFoundError as error:
        raise ConfigurationError(
            [
                f"{model} is no folder here, and the Hugging Face hub has no such model that you may see:"
                " check the spelling; for a private one, `hf auth login` first"
            ]
        ) from error
    except LocalEntryNotFoundError as error:
        raise _unreachable(model, error) from error
    except Exception as error:  # The hub's client lets a dozen unrelated types of the network through.
        raise _unreachable(model, error) from error


def _unreachable(model: str, error: Exception) -> DependencyError:
    return DependencyError(
        "Hugging Face hub",
        f"{model} is no folder here and could not be fetched ({type(error).__name__}). Try again with a"
        " network, or download its config.json, model.safetensors and tokenizer files to a folder and give"
        " that instead",
    )


def _published(model: str) -> frozenset[str]:
    """The names of all files on the hub, to tell people what there is; nothing without a network."""
    from huggingface_hub import HfApi

    with contextlib.suppress(Exception):  # It only makes a message better.
        return frozenset(HfApi().list_repo_files(model))
    return frozenset()
