"""What is left of HTML when it is read as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.stream.markup import plain_text

LINK = (
    '<a href="https://e.com/abc" rel="nofollow"><span class="invisible">https://</span>'
    '<span class="ellipsis">e.com/a</span><span class="invisible">bc</span></a>'
)
MENTION = '<span class="h-card"><a href="https://m.s/@bob" class="u-url mention">@<span>bob</span></a></span>'


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>one</p><p>two<br>three<br />four</p>", "one\ntwo\nthree\nfour"),
        (f"<p>see {LINK}, {MENTION}</p>", "see https://e.com/abc, @bob"),
        ("said<blockquote><p>that</p></blockquote><ul><li>a</li><li>b</li></ul>", "said\nthat\na\nb"),
        ("<P>caps</P><BR/>x", "caps\nx"),
        ("&lt;p&gt; &amp;amp; &#128512; &#x1F600; &nbsp;", "<p> &amp; \U0001f600 \U0001f600"),
        ("<p>a<script>alert('b')</script>c<style>p {}</style>d</p>", "acd"),
        ("a<script>never closed", "a"),
        ("1 < 2 and 3 > 2, <3", "1 < 2 and 3 > 2, <3"),
        ("a<!-- no -->b", "ab"),
        ("plain", "plain"),
        ("", ""),
        ("<p></p>", ""),
        (f"&#{'1' * 5000};x &#{'0' * 5000}", "\ufffdx \ufffd"),
    ],
)
def test_what_a_person_reads(markup: str, text: str) -> None:
    assert plain_text(markup) == text


@given(st.text(alphabet=st.sampled_from("<>/!-&#;'\"=apbrscit 1x\n"), max_size=200))
def test_anything_is_read(markup: str) -> None:
    text = plain_text(markup)
    assert len(text) <= len(markup)
    assert "\n\n" not in text


@pytest.mark.parametrize("piece", ["<a x=", "<!--", "<", "<script>", "&#1", "<p", "</p>", "<a b='"])
def test_a_megabyte_of_what_is_never_closed_is_read(piece: str) -> None:
    """Not timed: what takes time by the square of this would not end within the bound of a test."""
    assert isinstance(plain_text(piece * (1_000_000 // len(piece))), str)
