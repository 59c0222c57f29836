"""The documentation site: it builds without a warning, and its reference leaves nothing out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from docs.hooks import links
from docs.hooks.site import INCLUDED, generated
from worker.cli import cli
from worker.configuration import known, load
from worker.metrics import CATALOGUE
from worker.settings import ENV_PREFIX
from worker.topics.contract import TYPES

ROOT = Path(__file__).parents[2]
WITH_MORE = ("docs/index.md", "docs/comparison.md")
"""Pages that parts of others are put into."""
LOOKED_AT = ("li", "table", "tr", "pre", "h2", "h3")
OWN = {f"docs/{path.name}": path.name for path in ROOT.glob("docs/*.md")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        build, cwd=ROOT, env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr, ended.stderr
    return folder


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The generated pages, as Markdown, by name."""
    return {Path(path).stem: text for path, text in generated().items()}


def page_of(site: Path, path: str) -> str:
    """The HTML of what stands at a path of the site's sources."""
    return (site / path).with_suffix(".html").read_text(encoding="utf-8")


class Seen(HTMLParser):
    """How often each element stands in the article of a page, and what the page loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self.loaded: list[str] = []
        self._within = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within |= tag == "article"
        self.counted[tag] += self._within
        given = dict(attrs)
        loads = tag in ("script", "img", "source", "iframe") or (
            tag == "link" and given.get("rel") != "canonical"
        )
        if loads:
            self.loaded += [given[name] or "" for name in ("src", "href", "srcset") if name in given]

    def handle_endtag(self, tag: str) -> None:
        self._within &= tag != "article"


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = [*OWN.values(), *(path for path in INCLUDED.values() if path.endswith(".md")), *generated()]
    for path in pages:
        seen = Seen(page_of(site, path))
        assert seen.counted["h1"] == 1, path
        assert [url for url in seen.loaded if "//" in url] == [], path
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style
    assert {path.suffix for path in site.rglob("*")}.isdisjoint({".py", ".pyc"})


@pytest.mark.parametrize(
    "path", [path for path in [*OWN, *INCLUDED] if path.endswith(".md") and path not in WITH_MORE]
)
def test_a_page_has_the_lists_tables_and_blocks_of_its_file(site: Path, path: str) -> None:
    """Python-Markdown reads otherwise than CommonMark what is indented by two in a list, for example."""
    text = (ROOT / path).read_text(encoding="utf-8")
    html = MarkdownIt("commonmark").enable("table").render(text)
    wanted = Seen(f"<article>{html}</article>").counted
    found = Seen(page_of(site, (OWN | INCLUDED)[path])).counted
    assert {tag: found[tag] for tag in LOOKED_AT} == {tag: wanted[tag] for tag in LOOKED_AT}


def test_the_start_holds_the_first_screens_of_the_readme(site: Path) -> None:
    start = page_of(site, "index.md")
    assert Seen(start).counted["img"] == 3  # the page in light and dark, the demo
    for text in ("make demo", "moodstream topics create", "emotion-dead-letters", 'href="dead-letters.html"'):
        assert text in start
    assert "kill any process" not in start.lower()


def test_the_comparison_shows_what_was_measured(site: Path) -> None:
    rows = [re.sub(r"[`*| ]+", " ", row) for row in (ROOT / "bench/RESULTS.md").read_text().splitlines()]
    shown = re.findall(r"<tr>(.*?)</tr>", page_of(site, "comparison.md"), re.DOTALL)
    told = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in shown]
    assert len(told) > 25
    assert set(told) <= {" ".join(row.split()) for row in rows}


def commands_of(
    group: click.Group, above: click.Context | None, name: str
) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, above, name)
    for sub in group.list_commands(context):
        command = group.get_command(context, sub)
        assert command is not None
        yield f"{context.command_path} {sub}", command
        if isinstance(command, click.Group):
            yield from commands_of(command, context, sub)


def test_every_command_and_option_is_in_the_reference(reference: dict[str, str]) -> None:
    sections = dict(re.findall(r"^#+ (moodstream.*)\n((?:(?!#).*\n)*)", reference["commands"], re.MULTILINE))
    found = dict(commands_of(cli, None, "moodstream"))
    assert len(found) > 35
    assert sections.keys() == {*found, "moodstream"}
    for path, command in found.items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                row = next(row for row in sections[path].splitlines() if f"`{option.opts[0]}`" in row)
                assert plain_text(option.help) in plain_text(row), (path, option.opts)


def plain_text(markdown: str | None) -> str:
    """Letters and digits alone: how it is escaped is not looked at."""
    return re.sub(r"&\w+;|[^a-z0-9]+", "", (markdown or "").lower())


def test_every_setting_is_in_the_reference_with_its_variable_default_and_words(
    reference: dict[str, str],
) -> None:
    rows = {row.split("`")[1]: row for row in reference["settings"].splitlines() if row.startswith("| `")}
    assert rows.keys() == known().keys()
    for dotted, field in known().items():
        row = rows[dotted]
        assert f"`{ENV_PREFIX}{dotted.upper().replace('.', '__')}`" in row
        assert plain_text(field.description) in plain_text(row)
        if isinstance(field.default, str | int | float):
            assert f"| `{field.default}` |" in row
    assert "`plaintext`, `ssl`, `sasl_plaintext`, `sasl_ssl`" in rows["kafka.security_protocol"]
    assert "| integer, from 1, to 100,000 |" in rows["batch.max_records"]
    assert "| secret |" in rows["redis.password"]


def test_every_metric_is_in_the_reference_with_its_labels(reference: dict[str, str]) -> None:
    rows = {row.split("`")[1]: row for row in reference["metrics"].splitlines() if row.startswith("| `")}
    assert rows.keys() == {one.exposed for one in CATALOGUE}
    for one in CATALOGUE:
        assert f"| {one.kind} |" in rows[one.exposed]
        assert plain_text(one.help) in plain_text(rows[one.exposed])
        assert all(f"`{label}`" in rows[one.exposed] for label in one.labels)


def test_every_route_is_in_the_reference(reference: dict[str, str]) -> None:
    """Routes as they stand in the source; those of the page answer nothing that somebody would ask for."""
    routes = set()
    for path in ROOT.glob("worker/**/*.py"):
        text = path.read_text(encoding="utf-8")
        prefix = next(iter(re.findall(r'APIRouter\(prefix="([^"]+)"', text)), "")
        found = re.findall(r'@router\.(get|put|post|delete)\(\s*"([^"]+)"', text)
        routes |= {(method.upper(), prefix + route) for method, route in found if path.parent.name != "page"}
    assert len(routes) > 14
    for method, route in routes:
        assert re.search(rf"^(### )?\s*{method} {re.escape(route)}(\s|$)", reference["http"], re.MULTILINE), (
            route
        )


def test_every_topic_message_and_field_is_in_the_reference(reference: dict[str, str]) -> None:
    page = reference["topics"]
    for topic in load(env={}).topics.names:
        assert f"| `{topic}` |" in page
    for name, kind in TYPES.items():
        assert f'"message-{name}"' in page
        fields = page.partition(f'"schema-{kind.__name__.lower()}"')[2].partition("###")[0]
        assert all(f"| `{field}`" in fields for field in kind.__struct_encode_fields__), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](other.md#b) [c](#d)", "[a](other.md#b) [c](#d)"),
        ("[R](../RELIABILITY.md#x)", "[R](reliability.md#x)"),
        ("[two\nlines](../RELIABILITY.md)", "[two\nlines](reliability.md)"),
        ("[`tests/a.py`](../tests/a.py), [tests](../tests)", "`tests/a.py`, `tests`"),
        ("[the rules](../deploy/rules.yml)", "the rules (`deploy/rules.yml`)"),
        ("![curve](../bench/cpu.svg)", "![curve](cpu.svg)"),
        ("[gone](../nowhere.md)", "[gone](../nowhere.md)"),
        ("[web](https://a.example/b.md)", "[web](https://a.example/b.md)"),
        ("`[x](../tests/a.py)`", "`[x](../tests/a.py)`"),
        ("```\n[x](../tests/a.py)\n```", "```\n[x](../tests/a.py)\n```"),
    ],
)
def test_links_lead_to_pages_or_become_paths(text: str, expected: str) -> None:
    pages = {"RELIABILITY.md": "reliability.md", "bench/cpu.svg": "cpu.svg", "docs/other.md": "other.md"}
    there = {"tests/a.py", "tests", "deploy/rules.yml"}
    assert links.rewrite(text, "docs/page.md", "page.md", pages, there.__contains__) == expected


def test_what_is_put_into_a_page_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="no heading 'Nowhere'"):
        links.until("# Title\n\ntext\n", "Nowhere")
    with pytest.raises(ValueError, match="no table under 'Two'"):
        links.table_under("## One\n\n| a |\n|---|\n\n## Two\n\ntext\n", "Two", "first")
