"""The live page in a real Chromium, over a real Kafka, a real Redis and the trends role as it is deployed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import TOKEN, Stack
from tests.support.browser import HOSTILE, Visitor, grave
from tests.support.waiting import eventually
from worker.types import LABELS

WORDS = {
    "joy": "what a goal, we won the derby #derby 🎉",
    "love": "my dog waits at the door, i love him ❤️",
    "surprise": "wait, they closed the bridge? wow",
    "neutral": "the bus leaves at nine from stop C",
    "sadness": "the vet said it was time, so empty",
    "fear": "heard steps downstairs, terrified",
    "anger": "two hours on hold, furious @example_telecom",
}


@pytest.fixture(scope="module", autouse=True)
def _filled(stack: Stack) -> None:
    """An hour of posts, and some of the hour before; none leaves its hour while the tests run."""
    rng = random.Random(1)

    def ago_s() -> float:
        return rng.uniform(60, 3000) if rng.random() < 0.55 else rng.uniform(4300, 6600)

    posts: list[tuple[str, str | None, float, dict[str, Any]]] = [
        (emotion, WORDS[emotion], ago_s(), {"source": rng.choice(["web", "ios"]), "score": 0.8})
        for emotion in rng.choices(LABELS, [2, 5, 2, 3, 1, 2, 4], k=800)
    ]
    stack.post_all(posts)
    eventually(lambda: stack.counted() == len(posts), within_s=30)


def numbers(visitor: Visitor) -> dict[str, int]:
    """The table beside the chart: posts of each emotion."""
    rows = visitor.page.locator("#moods tr")
    cells = [row.split("\n") for row in rows.evaluate_all("rows => rows.map(row => row.innerText)")]
    return {row[0].strip(): int("".join(row).split("\t")[3].replace(",", "")) for row in cells}


def total(visitor: Visitor) -> int:
    """The tile of all posts."""
    return int(visitor.text("#tile-n").replace(",", ""))


def arrives(visitor: Visitor, text: str) -> None:
    """A post is at the top of the feed."""
    expect(visitor.page.locator("#feed li .text").filter(has_text=text).first).to_be_visible(timeout=10_000)


def test_it_shows_an_hour_within_a_second(
    visitor: Visitor, record_property: Callable[[str, object], None]
) -> None:
    shown = []
    for _ in range(3):
        visitor.open()
        marks = eventually(
            lambda: visitor.run("performance.getEntriesByName('moodstream:shown').map(m => m.startTime)")
        )
        shown.append(marks[0])
    record_property("shown_ms", [round(one) for one in shown])
    print(f"shown after {[round(one) for one in shown]} ms")  # noqa: T201
    assert min(shown) < 1000
    assert visitor.text("#tile-n") != "–"


def test_its_numbers_are_the_apis(visitor: Visitor, stack: Stack) -> None:
    visitor.open("/?range=6h")
    data = stack.data("/api/trends", **{"from": "-6h", "step": "5m", "compare": "previous"})
    expected = {series["emotion"]: series["total"] for series in data["series"]}
    eventually(lambda: numbers(visitor) == expected)
    assert sum(expected.values()) == data["n"] > 0
    assert visitor.text("#tile-n") == f"{data['n']:,}"
    assert visitor.text("#tile-authors") == str(data["unique_authors"])
    assert f"n = {data['n']:,}" in visitor.text("#plot-note")
    visitor.page.locator("#table summary").click()
    table_rows = visitor.page.locator("#table-here tbody tr")
    rows = eventually(  # it is drawn when it opens
        lambda: table_rows.evaluate_all(
            "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
        )
    )
    order = ["joy", "love", "surprise", "neutral", "sadness", "fear", "anger"]
    table = {
        name: [int(row[1 + at].replace(",", "")) for row in reversed(rows)] for at, name in enumerate(order)
    }
    for series in data["series"]:
        points = [n for _, n in series["points"]]
        assert table[series["emotion"]][: len(points) - 1] == points[:-1], series["emotion"]
    label = visitor.page.locator("#plot").get_attribute("aria-label") or ""
    assert f"{data['n']:,} posts" in label


def test_a_post_is_there_within_two_seconds(
    visitor: Visitor, stack: Stack, record_property: Callable[[str, object], None]
) -> None:
    visitor.open()
    expect(visitor.page.locator("#pulse")).to_have_attribute("data-state", "live")
    in_feed, in_chart = [], []
    for number in range(3):
        before = total(visitor)
        start = time.monotonic()
        stack.post("surprise", f"just now, number {number}")
        arrives(visitor, f"just now, number {number}")
        in_feed.append(time.monotonic() - start)
        while total(visitor) == before:
            assert time.monotonic() < start + 15
            time.sleep(0.02)
        in_chart.append(time.monotonic() - start)
    record_property("seconds", {"feed": in_feed, "chart": in_chart})
    print(f"in the feed after {in_feed}, in the chart after {in_chart} s")  # noqa: T201
    assert min(in_feed) < 2
    assert min(in_chart) < 2


def test_a_correction_arrives_in_its_topic(visitor: Visitor, stack: Stack) -> None:
    visitor.open()
    number = stack.post("joy", "oh great, another delay")
    arrives(visitor, "oh great, another delay")
    item = visitor.page.locator("#feed li").filter(has_text="oh great, another delay")
    item.locator("button.chip").click()
    item.get_by_role("menuitemradio", name="anger").click()
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_label("Your name").fill("ana")
    dialog.get_by_role("button", name="Go on").click()
    expect(item.locator(".outcome")).to_contain_text("Corrected: anger, was joy", timeout=10_000)
    (correction,) = [one for one in stack.corrected() if one.id == number]
    assert (correction.label, correction.by) == ("anger", "ana")
    assert correction.label_ref.startswith(f"{stack.labels}/")
    assert visitor.run("sessionStorage.getItem('moodstream.token')") == TOKEN
    assert visitor.run("localStorage.length") == 0

    # The second one takes one choice and no question. Nothing moves under the pointer, so it goes away first.
    visitor.page.mouse.move(5, 5)
    second = stack.post("fear", "so excited i can hardly breathe")
    arrives(visitor, "so excited i can hardly breathe")
    item = visitor.page.locator("#feed li").filter(has_text="so excited i can hardly breathe")
    item.locator("button.chip").click()
    item.get_by_role("menuitemradio", name="joy").click()
    expect(item.locator(".outcome")).to_contain_text("Corrected", timeout=10_000)
    assert [one.label for one in stack.corrected() if one.id == second] == ["joy"]


def test_a_correction_with_the_keyboard_alone_and_a_token_from_the_address(
    visitor: Visitor, stack: Stack
) -> None:
    visitor.open(f"/?mode=count#token={TOKEN}")
    assert visitor.page.url == f"{stack.url}/?mode=count"
    number = stack.post("neutral", "my heart is full")
    arrives(visitor, "my heart is full")
    keyboard = visitor.page.keyboard
    visitor.page.locator("#feed li").filter(has_text="my heart is full").locator("button.chip").focus()
    keyboard.press("Enter")
    keyboard.press("Escape")
    assert visitor.run("document.activeElement.className") == "chip"
    keyboard.press("Enter")
    keyboard.press("Home")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    outcome = visitor.page.locator("#feed li").filter(has_text="my heart is full").locator(".outcome")
    expect(outcome).to_contain_text("Corrected: love, was neutral", timeout=10_000)
    assert [one.label for one in stack.corrected() if one.id == number] == ["love"]
    assert "Corrected" in visitor.text("#said")


def test_a_wrong_token_is_asked_for_again(visitor: Visitor, stack: Stack) -> None:
    visitor.expected_statuses.add(401)
    visitor.open("/#token=something-else-altogether")
    stack.post("joy", "a wrong key first")
    arrives(visitor, "a wrong key first")
    item = visitor.page.locator("#feed li").filter(has_text="a wrong key first")
    item.locator("button.chip").click()
    item.get_by_role("menuitemradio", name="sadness").click()
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog).to_contain_text("not this server's token")
    dialog.get_by_role("button", name="Cancel").click()
    expect(item.locator("button.chip")).to_contain_text("joy")
    assert visitor.run("sessionStorage.getItem('moodstream.token')") is None


def test_hostile_posts_are_shown_as_they_are(visitor: Visitor, stack: Stack) -> None:
    visitor.open()
    for number, text in enumerate(HOSTILE):
        stack.post("fear", text, id=f"<b onclick=1>{number}", source="<img src=x onerror=window.pwned=1>")
        time.sleep(0.5)
    eventually(lambda: len(visitor.page.locator("#feed .when bdi").filter(has_text="<img").all()) >= 5)
    shown = visitor.page.locator("#feed .text").evaluate_all("all => all.map(one => one.textContent)")
    assert len([text for text in shown if text in HOSTILE]) >= 5
    assert visitor.run("window.pwned") is None
    assert (
        visitor.run(
            "document.querySelectorAll('#feed script, #feed img, #feed svg, #feed h1, #feed style').length"
        )
        == 0
    )
    assert visitor.run("document.querySelectorAll('[onclick], [onerror], [onload]').length") == 0
    assert visitor.run("document.documentElement.scrollWidth <= innerWidth")
    # A name of a source is a choice; nothing more.
    option = visitor.page.locator("#show option", has_text="onerror")
    visitor.open()
    eventually(lambda: option.count() == 1)


def test_terms_of_hostile_posts_too(visitor: Visitor, stack: Stack) -> None:
    for number in range(12):
        stack.post("surprise", f"\u202e#evil\u202c <b>bold</b> &lt;i&gt; {number} 👨‍👩‍👧", ago_s=30)
    visitor.open("/?kind=hashtag&emotion=surprise")
    expect(visitor.page.locator("#terms")).to_contain_text("#evil", timeout=20_000)
    assert visitor.run("document.querySelectorAll('#terms b, #terms i').length") == 0


def test_posts_without_text_say_so(visitor: Visitor, stack: Stack) -> None:
    visitor.open()
    stack.post("joy", None, source="silent")
    item = visitor.page.locator("#feed li").filter(has_text="silent").first
    expect(item.locator(".text.none")).to_be_visible(timeout=10_000)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(browser: Browser, stack: Stack, theme: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    visitor = Visitor(context.new_page(), stack.url)
    visitor.open()
    expect(visitor.page.locator("#feed .chip").first).to_be_visible()
    expect(visitor.page.locator("#terms li").first).to_be_visible(timeout=20_000)
    visitor.page.locator("#table summary").click()
    visitor.page.locator("#pause").click()
    visitor.page.locator("#feed .chip").first.click()
    assert grave(visitor) == []
    assert visitor.run("document.documentElement.scrollWidth <= innerWidth")
    assert visitor.faults == []
    context.close()


def test_the_dialog_too(visitor: Visitor) -> None:
    visitor.open()
    visitor.page.locator("#feed .chip").first.click()
    visitor.page.get_by_role("menuitemradio", checked=False).first.click()
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    assert grave(visitor) == []


def test_the_theme_is_a_choice_that_stays(visitor: Visitor) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    visitor.page.emulate_media(color_scheme="light")
    visitor.open()
    light = visitor.run(ground)
    visitor.page.emulate_media(color_scheme="dark")
    dark = visitor.run(ground)
    assert light != dark
    visitor.page.locator("#theme").click()
    assert visitor.run(ground) == light
    visitor.open()
    assert visitor.run(ground) == light
    visitor.page.locator("#theme").click()
    assert visitor.run(ground) == dark


def test_what_is_asked_for_is_in_the_address_and_in_the_numbers(visitor: Visitor, stack: Stack) -> None:
    visitor.open()
    visitor.page.get_by_role("radio", name="6 hours").check()
    visitor.page.locator("#step").select_option("15 min")
    visitor.page.locator("#show").select_option("ios")
    eventually(lambda: "show=source%3Aios" in visitor.page.url)
    assert "range=6h" in visitor.page.url
    assert "step=15m" in visitor.page.url
    data = stack.data("/api/trends", **{"from": "-6h", "step": "15m", "source": "ios"})
    expected = {series["emotion"]: series["total"] for series in data["series"]}
    eventually(lambda: numbers(visitor) == expected)
    visitor.page.reload()
    eventually(lambda: numbers(visitor) == expected)
    csv = visitor.page.locator("#csv").get_attribute("href") or ""
    lines = httpx.get(stack.url + csv).text.splitlines()[1:]
    assert sum(int(line.rpartition(",")[2]) for line in lines) == data["n"]


def test_one_emotion_stands_out_when_it_is_chosen(visitor: Visitor) -> None:
    visitor.open()
    visitor.page.get_by_role("button", name="anger", exact=True).first.click()
    assert "emotion=anger" in visitor.page.url
    expect(visitor.page.locator("#terms dt")).to_have_count(1, timeout=10_000)
    visitor.page.get_by_role("radio", name="Samples").check()
    chips = visitor.page.locator("#feed .chip span:nth-child(2)")
    eventually(lambda: set(chips.all_inner_texts()) == {"anger"})  # until then the live posts stand there


def test_the_chart_speaks_and_leads_to_its_posts(visitor: Visitor) -> None:
    visitor.open("/?range=6h&step=1h")
    visitor.page.locator("#plot").focus()
    visitor.page.keyboard.press("End")
    eventually(lambda: "posts." in visitor.text("#plot [aria-live]"))
    said = visitor.text("#plot [aria-live]")
    visitor.page.keyboard.press("ArrowLeft")
    eventually(lambda: visitor.text("#plot [aria-live]") != said)
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("#feed-note")).to_contain_text("kept as examples", timeout=10_000)
    assert "view=samples" in visitor.page.url


def test_queries_are_tracked_and_a_mistake_is_shown_at_its_place(visitor: Visitor, stack: Stack) -> None:
    visitor.expected_statuses.add(400)
    visitor.open(f"/#token={TOKEN}")
    page = visitor.page
    page.get_by_placeholder("Name").fill("Derby <b>")
    page.locator("#track-expression").fill("goal OR (won")
    page.get_by_role("button", name="Track").click()
    expect(page.locator("#track-problem")).to_be_visible(timeout=10_000)
    expression, caret = page.locator("#track-problem").inner_text().split("\n")
    assert expression == "goal OR (won"
    assert caret.index("^") == expression.index("(")  # it is never closed
    page.locator("#track-expression").fill("goal OR won")
    page.get_by_role("button", name="Track").click()
    row = page.locator("#queries li").filter(has_text="Derby <b>")
    expect(row).to_be_visible(timeout=10_000)
    assert stack.data("/api/queries")["queries"][0]["expression"] == "goal OR won"

    def matched() -> bool:
        stack.post("joy", "we won again")
        time.sleep(0.5)
        return bool(stack.data("/api/voice")["n"])

    eventually(matched, within_s=20)
    row.get_by_role("button", name="Derby <b>", exact=True).click()
    eventually(lambda: sum(numbers(visitor).values()) == stack.data("/api/trends", query="Derby <b>")["n"])
    row.get_by_role("button", name="Stop tracking").click()
    assert stack.data("/api/queries")["n"] == 1
    row.get_by_role("button", name="Stop tracking").click()
    eventually(lambda: stack.data("/api/queries")["n"] == 0)
    expect(page.locator("#queries")).to_contain_text("Nothing is tracked yet", timeout=10_000)


def test_a_hidden_tab_asks_for_nothing(visitor: Visitor, stack: Stack) -> None:
    visitor.open()
    visitor.run(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true}),"
        " document.dispatchEvent(new Event('visibilitychange'))"
    )
    time.sleep(0.5)
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    stack.post("joy", "nobody looks")
    time.sleep(2.5)
    assert asked == []
    visitor.run("delete document.hidden, document.dispatchEvent(new Event('visibilitychange'))")
    eventually(lambda: any("/api/trends" in url for url in asked))


def test_a_redis_that_is_away_is_said_and_the_page_recovers(visitor: Visitor, stack: Stack) -> None:
    visitor.expected_statuses.add(503)
    visitor.open()
    before = stack.data("/api/trends", **{"from": "-1h", "step": "1m"})["n"]
    eventually(lambda: total(visitor) == before)  # with what the tests before wrote last
    stack.redis.kill()
    try:
        expect(visitor.page.locator("#away")).to_contain_text("redis does not answer", timeout=20_000)
        assert total(visitor) == before  # what was there stays to be looked at
        assert "What you see is from" in visitor.text("#away")
    finally:
        stack.redis.start()
    eventually(stack.role.ready, within_s=30)
    number = stack.post("joy", "here again")
    expect(visitor.page.locator("#away")).to_be_hidden(timeout=20_000)
    assert "answers again" in visitor.text("#said")
    eventually(lambda: total(visitor) > before, within_s=45)  # what Redis lost is counted again first
    assert number


def test_the_openapi_document_names_what_the_page_asks(stack: Stack) -> None:
    paths = json.loads(stack.role.get("/openapi.json").text)["paths"]
    for path in ("trends", "terms", "samples", "names", "queries", "voice", "live", "review", "corrections"):
        assert f"/api/{path}" in paths
