"""Labels reviewed in a real Chromium: each answer is in its topic, and what the quality role makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import TOKEN, Stack
from tests.support.browser import HOSTILE, Visitor, grave
from tests.support.waiting import eventually
from worker.quality.correction import check_time, decode, reference
from worker.quality.judgement import check_id, judge, said
from worker.quality.report import Report, report
from worker.slices import Review, Slice
from worker.types import EMOTIONS, LABELS, Judgement, Label, LabelName, OutRecord, Record

HOUR = 3600.0
TEXTS = [f"a plain post, number {number}" for number in range(8)]
HOSTILE_AS_SHOWN = [text or "This post is empty." for text in HOSTILE]
LARGE = 1_841_000_000_000_000_001
"""An id that JavaScript's numbers cannot hold."""
UNSURE = dict.fromkeys(EMOTIONS, 1 / 6)
OPENED = f"/?review=random#token={TOKEN}"


def sure(emotion: str) -> dict[str, float]:
    return {name: 0.95 if name == emotion else 0.01 for name in EMOTIONS}


@pytest.fixture(scope="module", autouse=True)
def _filled(stack: Stack) -> None:
    """Plain and hostile posts that are labelled surely, and close calls without text; an hour for each."""
    stack.post_all(
        [
            ("joy", text, 3 * HOUR, {"scores": sure("joy"), "neutral": 0.0, "id": LARGE + number})
            for number, text in enumerate(TEXTS)
        ]
    )
    stack.post_all(
        [
            ("fear", text, 5 * HOUR, {"scores": sure("fear"), "neutral": 0.0, "source": "<b onclick=1>"})
            for text in HOSTILE
        ]
    )
    stack.post_all([("anger", None, 7 * HOUR, {"scores": UNSURE, "neutral": 0.0})] * 3)
    eventually(lambda: stack.counted() == len(TEXTS) + len(HOSTILE) + 3, within_s=30)


@pytest.fixture
def reviewer(visitor: Visitor) -> Visitor:
    """Somebody with the token who looks at the first label of the random slice."""
    visitor.open(OPENED)
    expect(visitor.page.locator("#review-card")).to_be_visible(timeout=10_000)
    return visitor


def shown(visitor: Visitor) -> str:
    return visitor.page.locator("#review-text").text_content() or ""


def until_plain(visitor: Visitor) -> str:
    """Skip what other tests look at; the text of the first plain post."""
    for _ in range(30):
        if shown(visitor) in TEXTS:
            return shown(visitor)
        press(visitor, "s")
    raise AssertionError("no plain post came")


def press(visitor: Visitor, key: str, *, focused: bool = False) -> None:
    """A key for the review, and what it brings. `focused`: it is where it was tabbed to."""
    before = shown(visitor)
    if not focused:
        visitor.page.locator("#review").focus()
    visitor.page.keyboard.press(key)
    eventually(lambda: shown(visitor) != before)


def judged(stack: Stack) -> Report:
    """What the quality role would say, by its own functions, of all that is in the corrections topic."""
    labels = {
        f"{message.topic()}/{message.partition()}/{message.offset()}": message.value() or b""
        for message in stack.kafka.read_all(stack.labels)
    }
    book: dict[str, Judgement] = {}
    for offset, message in enumerate(stack.kafka.read_all(stack.corrections)):
        record = Record(
            stack.corrections, 0, offset, message.key(), message.value(), message.timestamp()[1]
        )  # fmt: skip
        correction = decode(record)
        check_time(correction, record, time.time(), 1)
        ref = str(reference(correction, stack.labels))
        before = book.get(ref) or said(msgspec.json.decode(labels[ref], type=Label), ref)
        check_id(correction, before.label)
        book[ref] = judge(before, correction, offset)
    return report(book.values(), Review(1, 0.2), time.time())


def confusion(found: Report, slice_: Slice = "random") -> dict[tuple[LabelName, LabelName], int]:
    """(what people say, the model's label) -> labels."""
    rows = found.models["test@1"]["day"][slice_].confusion
    assert rows is not None
    return {
        (truth, answer): n
        for truth, row in zip(LABELS, rows, strict=True)
        for answer, n in zip(LABELS, row, strict=True)
        if n
    }


def test_a_label_is_confirmed_and_another_corrected(reviewer: Visitor, stack: Stack) -> None:
    page = reviewer.page
    first = until_plain(reviewer)
    page.get_by_role("button", name="Right: joy").click()
    expect(page.locator("#review-outcome")).to_have_text("✓ Right: joy.", timeout=10_000)
    eventually(lambda: shown(reviewer) != first)
    assert "Right: joy. Next: " in reviewer.text("#said")
    second = until_plain(reviewer)
    page.locator("#review-labels").get_by_role("button", name="anger").click()
    expect(page.locator("#review-outcome")).to_have_text("✓ Corrected: anger, was joy.", timeout=10_000)

    confirmed, corrected = stack.corrected()
    numbers = [TEXTS.index(first), TEXTS.index(second)]
    assert [int(one.id) for one in (confirmed, corrected)] == [LARGE + number for number in numbers]
    assert (confirmed.label, corrected.label) == ("joy", "anger")
    found = judged(stack)
    assert confusion(found) == {("joy", "joy"): 1, ("anger", "joy"): 1}
    accuracy = found.models["test@1"]["day"]["random"].accuracy
    assert accuracy is not None
    assert accuracy.value == 0.5
    assert found.models["test@1"]["day"]["low_margin"].n == 0

    # Neither comes again in this browser; in another one they do.
    page.reload()
    expect(page.locator("#review-card")).to_be_visible(timeout=10_000)
    seen = []
    while page.locator("#review-card").is_visible():
        seen.append(shown(reviewer))
        press(reviewer, "s")
    assert sorted(seen) == sorted({*TEXTS, *HOSTILE_AS_SHOWN} - {first, second})
    expect(page.locator("#review-note")).to_contain_text("3 labels wait here without the texts")
    assert reviewer.run("document.activeElement.id") in {"review", "review-note"}


def test_the_keyboard_alone(visitor: Visitor, stack: Stack) -> None:
    visitor.open(f"/#token={TOKEN}")
    before = len(stack.corrected())
    keyboard = visitor.page.keyboard
    keyboard.press("Tab")
    keyboard.press("Tab")
    keyboard.press("Enter")  # the second skip link
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(visitor.page.locator("#review-card")).to_be_visible(timeout=10_000)
    assert "review=random" in visitor.page.url
    while shown(visitor) not in TEXTS:
        press(visitor, "s", focused=True)
    first = shown(visitor)
    press(visitor, "5", focused=True)
    keyboard.press("b")  # a slip: the one before once more
    eventually(lambda: shown(visitor) == first)
    keyboard.press("y")
    eventually(lambda: shown(visitor) != first)
    keyboard.press("Control+s")
    wrong, right = stack.corrected()[before:]
    assert (wrong.label, right.label) == ("sadness", "joy")
    assert wrong.label_ref == right.label_ref
    assert ("joy", "joy") in confusion(judged(stack))  # the last word counts
    for _ in range(3):
        keyboard.press("Tab")
    assert visitor.run("document.activeElement.closest('#review') !== null")


def test_hostile_posts_are_shown_as_they_are(reviewer: Visitor) -> None:
    seen = []
    while reviewer.page.locator("#review-card").is_visible():
        seen.append(shown(reviewer))
        assert reviewer.run("document.documentElement.scrollWidth <= innerWidth")
        press(reviewer, "s")
    assert set(HOSTILE_AS_SHOWN) <= set(seen)
    assert reviewer.run("window.pwned") is None
    inside = "document.querySelectorAll('#review :is(script, img, svg, h1, style, b, [onclick])').length"
    assert reviewer.run(inside) == 0


def test_without_text_it_says_what_would_show_it(visitor: Visitor, stack: Stack) -> None:
    visitor.open("/?review=low_margin")
    note = visitor.page.locator("#review-note")
    expect(note).to_contain_text("3 labels wait here without the texts", timeout=10_000)
    expect(note).to_contain_text("worker.label_text")
    expect(visitor.page.locator("#review-card")).to_be_hidden()


@pytest.fixture(scope="module")
def silent(browser: Browser, stack: Stack) -> Iterator[Visitor]:
    """The page of a role that stores no texts, as it comes."""
    role = stack.started("silent.log", MOODSTREAM_TRENDS__NAMESPACE="silent")
    context = browser.new_context()
    yield Visitor(context.new_page(), f"http://127.0.0.1:{role.port}")
    context.close()
    role.kill()


def test_where_no_texts_are_stored_the_setting_is_named(silent: Visitor) -> None:
    silent.open("/?review=random")
    note = silent.page.locator("#review-note")
    expect(note).to_contain_text("trends.store_text=on", timeout=20_000)
    expect(silent.page.locator("#review-card")).to_be_hidden()
    assert silent.faults == []


def test_a_kafka_that_does_not_answer_loses_no_answer(reviewer: Visitor, stack: Stack) -> None:
    reviewer.expected_statuses.add(503)
    text = until_plain(reviewer)
    page, refused = reviewer.page, '{"status": "error", "errorType": "unavailable", "error": "kafka is away"}'
    page.route("**/api/corrections", lambda route: route.fulfill(status=503, body=refused))
    page.get_by_role("button", name="Right: joy").click()
    expect(page.locator("#review-outcome")).to_have_text("Not saved. kafka is away")
    assert shown(reviewer) == text
    page.unroute("**/api/corrections")
    page.get_by_role("button", name="Right: joy").click()
    eventually(lambda: shown(reviewer) != text)


def test_a_post_that_is_deleted_meanwhile_is_not_judged(reviewer: Visitor, stack: Stack) -> None:
    [number] = stack.post_all([("love", "to be deleted", 9 * HOUR, {"scores": sure("love"), "neutral": 0.0})])

    def offered() -> bool:
        """Asked as the page asks: the server remembers each answer for a moment, and gives it to both."""
        asked = {"slice": "random", "from": "-24h", "to": "now", "limit": "100"}
        return "to be deleted" in str(stack.data("/api/review", **asked))

    eventually(offered)
    reviewer.page.reload()
    expect(reviewer.page.locator("#review-card")).to_be_visible(timeout=10_000)
    while shown(reviewer) != "to be deleted":
        press(reviewer, "s")
    stack.kafka.produce(stack.labels, [OutRecord(stack.labels, str(number).encode(), None)])
    eventually(lambda: not offered())
    reviewer.run("document.dispatchEvent(new Event('visibilitychange'))")  # sooner than in a minute
    eventually(lambda: shown(reviewer) != "to be deleted")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(
    browser: Browser, stack: Stack, theme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    visitor = Visitor(context.new_page(), stack.url)
    visitor.open(OPENED)
    expect(visitor.page.locator("#review-card")).to_be_visible(timeout=10_000)
    until_plain(visitor)
    assert grave(visitor) == []
    assert visitor.run("document.documentElement.scrollWidth <= innerWidth")
    assert visitor.faults == []
    context.close()
