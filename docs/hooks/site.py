"""The events of MkDocs: pages that are generated or lie elsewhere come in, links are made to fit.

It imports from the top folder: `python -m mkdocs` in that folder finds it, plain `mkdocs` does not.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import worker.cli
from docs.hooks import commands, http_api, links, messages, metrics, settings
from worker.configuration import load
from worker.metrics import CATALOGUE
from worker.topics.contract import asyncapi

ROOT = Path(__file__).parents[2]
INCLUDED = {
    "ARCHITECTURE.md": "architecture.md",
    "RELIABILITY.md": "reliability.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
    "bench/RESULTS.md": "measured.md",
    "bench/cpu.svg": "cpu.svg",
    "training/RESULTS.md": "trained.md",
}
"""Files of the repository that are on the site, and where."""

_REFERENCE = "reference/"
_FIRST = re.compile(r"<!-- first screens of README\.md -->")
_TABLE = re.compile(r'<!-- the (?P<which>first|last) table under "(?P<heading>[^"]+)" of (?P<file>\S+) -->')
_BEHIND_THEM = "Exactly once"


def generated() -> dict[str, str]:
    """The pages of the reference, by their place on the site."""
    # No alerts are looked for: the models' own figures would be read from disk for it.
    usual = load({"trends.alerts.detect": "off"}, env={})
    document = asyncapi(usual, version("moodstream"))
    return {
        f"{_REFERENCE}commands.md": commands.render(worker.cli.cli, "moodstream", _exit_codes()),
        f"{_REFERENCE}settings.md": settings.render(),
        f"{_REFERENCE}metrics.md": metrics.render(CATALOGUE),
        f"{_REFERENCE}http.md": http_api.render(http_api.apis(usual)),
        f"{_REFERENCE}topics.md": messages.render(usual.topics, document),
    }


def _exit_codes() -> str:
    return (worker.cli.__doc__ or "").partition("\n\n")[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/."""
    for path, content in generated().items():
        files.append(File.generated(config, path, content=content))
    for path, there in INCLUDED.items():
        files.append(File.generated(config, there, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the README's first screens where they belong, and make links lead to pages of the site."""
    there = page.file.src_uri
    if there.startswith(_REFERENCE):
        return markdown
    pages = INCLUDED | {f"docs/{file.src_uri}": file.src_uri for file in files}
    pages["README.md"] = "index.md"
    source = next((path for path, uri in INCLUDED.items() if uri == there), f"docs/{there}")

    def made(text: str, source: str) -> str:
        return links.rewrite(text, source, there, pages, lambda path: (ROOT / path).exists())

    def first_screens(_: re.Match[str]) -> str:
        return made(links.until(_read("README.md"), _BEHIND_THEM), "README.md")

    def table(found: re.Match[str]) -> str:
        return made(links.table_under(_read(found["file"]), found["heading"], found["which"]), found["file"])

    return _TABLE.sub(table, _FIRST.sub(first_screens, made(markdown, source)))


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
