from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from worker.configuration import environment, load
from worker.demo.latency import Latencies
from worker.demo.pace import Pace
from worker.demo.records import OWN, Kind, Made
from worker.demo.screen import Feed, Places, View, bar, line, own_posts, picture, room
from worker.demo.servers import command, demo_settings
from worker.demo.svg import as_svg
from worker.demo.tally import Row, Tally, Totals
from worker.demo.trends import Mood
from worker.demo.verdict import judge
from worker.interrupts import interrupts
from worker.settings import Settings
from worker.types import Label, LabelName, Scores

MINUTE = 1_700_000_040


def post(key: str) -> Made:
    return Made("tweets", OWN + key.encode(), b"{}", Kind.POST, f"text of {key}")


def label(name: LabelName = "joy", source: str = "web") -> Label:
    return Label(
        id="1",
        source=source,
        label=name,
        score=0.9,
        scores=Scores(0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
        neutral=0.0,
        model="test@1",
        created_at=datetime.fromtimestamp(MINUTE + 59.9, UTC),
        labelled_at=datetime.fromtimestamp(MINUTE + 60, UTC),
        input="tweets/0/0",
    )


class TestPace:
    def test_the_first_is_due_at_once(self) -> None:
        assert Pace(50, start=10.0).due(10.0) == 1

    def test_nothing_is_due_before_the_start(self) -> None:
        assert Pace(50, start=10.0).due(9.0) == 0

    def test_it_does_not_drift_however_late_one_looks(self) -> None:
        pace = Pace(50, start=0.0)
        sent = 0
        now = 0.0
        while now < 60.0:
            sent += pace.due(now) - sent
            now += pace.wait_s(sent, now) + 0.0137

        assert sent == pytest.approx(3000, abs=2)

    @given(st.floats(1, 10_000), st.integers(0, 100_000))
    def test_after_the_wait_one_more_is_due(self, rate: float, sent: int) -> None:
        pace = Pace(rate, start=100.0)
        now = 100.0
        later = now + pace.wait_s(sent, now)

        assert pace.due(later + 1e-6) > sent


class TestLatencies:
    @given(st.lists(st.floats(1e-5, 100), min_size=1), st.sampled_from([50.0, 99.0, 100.0]))
    def test_percentiles_are_within_two_per_cent(self, seconds: list[float], percent: float) -> None:
        latencies = Latencies()
        for one in seconds:
            latencies.add(one)
        rank = max(0, -int(-len(seconds) * percent // 100) - 1)
        exact = sorted(seconds)[rank] * 1000

        assert exact - 0.051 <= latencies.percentile_ms(percent) <= exact * 1.0201 + 0.051

    def test_nothing_measured_is_zero(self) -> None:
        assert Latencies().percentile_ms(99) == 0.0


class TestTally:
    def test_labels_dead_letters_and_tombstones_answer_what_was_sent(self) -> None:
        tally = Tally()
        for key in ("a", "b", "c"):
            tally.sent(post(key), 1.0)
        tally.sent(Made("tweets", OWN + b"a", None, Kind.DELETION, ""), 1.0)
        assert tally.waiting == 4

        tally.label(OWN + b"a", label(), 1.5)
        tally.label(OWN + b"b", label("anger"), 2.0)
        tally.dead_letter(OWN + b"c", "invalid_json", 2.0)
        tally.tombstone(OWN + b"a")
        totals = tally.totals()

        assert (totals.taken, totals.labelled, totals.dead, totals.deletions) == (3, 2, 1, 1)
        assert (totals.waiting, totals.unexpected) == (0, 0)
        assert totals.tweets_per_s == 2.0
        assert totals.p50_ms == pytest.approx(500, rel=0.02)
        assert totals.rows[-1] == Row("tweets", "invalid_json", None, 0.0, 1000.0)

    def test_counts_are_by_minute_emotion_and_source(self) -> None:
        tally = Tally()
        for key, answer in (("a", label()), ("b", label()), ("c", label("fear", "ios"))):
            tally.sent(post(key), 0.0)
            tally.label(OWN + key.encode(), answer, 0.1)

        assert tally.counts() == {(MINUTE, "joy", "web"): 2, (MINUTE, "fear", "ios"): 1}

    def test_a_second_answer_is_unexpected_and_the_trends_must_count_it(self) -> None:
        tally = Tally()
        tally.sent(post("a"), 0.0)
        tally.label(OWN + b"a", label(), 0.1)
        tally.label(OWN + b"a", label(), 0.2)

        assert tally.totals().labelled == 1
        assert tally.totals().unexpected == 1
        assert sum(tally.counts().values()) == 2

    def test_what_others_send_is_counted_apart_and_in_the_trends(self) -> None:
        tally = Tally()
        tally.sent(post("7"), 0.0)
        tally.label(b"7", label(source="mine"), 0.1)
        tally.dead_letter(b"", "invalid_json", 0.1)
        tally.tombstone(b"7")

        totals = tally.totals()
        assert (totals.waiting, totals.labelled, totals.dead) == (1, 0, 0)
        assert (totals.unexpected, totals.others) == (0, 3)
        assert tally.counts() == {(MINUTE, "joy", "mine"): 1}


def totals(**changed: object) -> Totals:
    start = Totals(10, 9, 1, 0, 0, 0, 2, 45.0, 20.0, 40.0, ())
    return start._replace(**changed)  # type: ignore[arg-type]


COUNTS = {(MINUTE, "joy", "web"): 9}


class TestVerdict:
    def test_all_is_well(self) -> None:
        verdict = judge(totals(), labelled=COUNTS, counted=COUNTS)

        assert verdict.good
        assert msgspec.json.decode(msgspec.json.encode(verdict.result)) == {
            "in": 10,
            "labelled": 9,
            "dead": 1,
            "tweets_per_s": 45.0,
            "p50_ms": 20.0,
            "p99_ms": 40.0,
            "trends_exact": True,
        }

    def test_the_line_begins_as_the_contract_says(self) -> None:
        line = msgspec.json.encode(judge(totals(), labelled=COUNTS, counted=COUNTS).result)

        assert line.startswith(b'{"in":10,"labelled":9,"dead":1,"tweets_per_s":')

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"taken": 0, "labelled": 0, "dead": 0}, "nothing was sent"),
            ({"waiting": 3}, "3 records were not answered"),
            ({"unexpected": 1}, "1 answers came twice"),
        ],
    )
    def test_it_says_what_is_wrong(self, changed: dict[str, object], said: str) -> None:
        verdict = judge(totals(**changed), labelled=COUNTS, counted=COUNTS)

        assert not verdict.good
        assert said in verdict.problems[0]

    def test_a_wrong_trend_is_named(self) -> None:
        counted = {(MINUTE, "joy", "web"): 8, (MINUTE, "fear", "ios"): 1}
        verdict = judge(totals(), labelled=COUNTS, counted=counted)

        assert not verdict.result.trends_exact
        assert verdict.problems == (
            "trend of 22:14 UTC, fear, ios: 1 counted, 0 labelled",
            "trend of 22:14 UTC, joy, web: 8 counted, 9 labelled",
        )

    def test_many_wrong_trends_are_counted(self) -> None:
        counted = {(MINUTE + 60 * n, "joy", "web"): 1 for n in range(10)}

        assert judge(totals(), labelled={}, counted=counted).problems[-1] == "and 7 trends more"

    def test_trends_that_cannot_be_read_are_not_exact(self) -> None:
        verdict = judge(totals(), labelled={}, counted=None)

        assert not verdict.result.trends_exact
        assert "does not answer" in verdict.problems[0]


def row(n: int, name: LabelName | None = "joy") -> Row:
    return Row("tweets", f"post number {n}", name, 0.87, 25.0)


def drawn(view: View, posts: int, width: int = 100) -> list[str]:
    lines = Console(width=width, quiet=True).render_lines(picture(view, posts))
    return ["".join(segment.text for segment in segments) for segments in lines]


class TestScreen:
    def view(self, **changed: object) -> View:
        rows = [row(1), row(2, "anger"), Row("feedback", "invalid_utf8", None, 0.0, 12.0)]
        start = View(
            totals(),
            rows,
            Mood("this minute", {"joy": 6, "anger": 3}),
            12.0,
            "live",
            Places(
                "http://127.0.0.1:1/#token=0123456789abcdef",
                "http://127.0.0.1:1/api/trends",
                "http://127.0.0.1:1/metrics",
                "http://127.0.0.1:2/metrics",
                own_posts("127.0.0.1:34567"),
            ),
        )
        return start._replace(**changed)  # type: ignore[arg-type]

    @pytest.mark.parametrize("width", [80, 100, 140])
    def test_the_picture_shows_everything(self, width: int) -> None:
        text = "\n".join(drawn(self.view(), 8, width))

        for part in (
            "moodstream",
            "moodstream send FILE --bootstrap 127.0.0.1:34567",
            "45.0",
            "40 ms",
            "joy",
            "anger",
            "invalid",
            "67%",
            "/api/trends",
            "#token=",
        ):
            assert part in text
        assert all(len(one) <= width for one in text.splitlines())

    def test_it_is_drawn_before_there_is_anything_to_show(self) -> None:
        view = self.view(totals=Tally().totals(), feed=[], mood=None)

        assert "no answer yet" in "\n".join(drawn(view, 6))

    def test_markup_in_a_post_stays_as_it_is(self) -> None:
        view = self.view(feed=[row(1)._replace(text="[bold]not[/nonsense] markup")])

        assert "[bold]not[/nonsense] markup" in "\n".join(drawn(view, 5, width=120))

    def test_one_line_has_the_figures(self) -> None:
        assert line(self.view()) == (
            "   12 s  10 in, 9 labelled, 1 dead, 45 tweets/s, p50 20 ms, p99 40 ms; trend: joy 6, anger 3"
        )
        assert line(self.view(mood=None)).endswith("trend: no answer")

    def test_the_picture_fits_the_terminal(self) -> None:
        for height in (24, 30, 45):
            posts = room(height)
            view = self.view(feed=[row(n) for n in range(posts)])
            assert len(drawn(view, posts)) < height

    def test_bars(self) -> None:
        assert bar(0, 4) == "    "
        assert bar(1, 4) == "████"
        assert bar(0.5, 4) == "██  "
        assert bar(1.7, 2) == "██"
        assert len(bar(0.37, 6)) == 6


class TestPicture:
    def test_it_is_whole_and_stands_alone(self) -> None:
        view = TestScreen().view(feed=[row(1)._replace(text="  <b> & Fira Code  ")])
        svg = as_svg(picture(view, 8), "a title", 110)
        texts = [one.text or "" for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("}text")]

        assert "a\u00a0title" in texts
        assert any("<b>\u00a0&" in one for one in texts)
        assert "url(http" not in svg
        assert "@font-face" not in svg
        assert all(one == one.strip("\u00a0") for one in texts)


class TestFeed:
    def test_it_adds_one_post_a_look_newest_first(self) -> None:
        feed = Feed()
        first = feed.advance(totals(labelled=3, dead=0, rows=tuple(map(row, range(3)))), 5)
        second = feed.advance(totals(labelled=6, dead=0, rows=tuple(map(row, range(6)))), 5)

        assert [one.text for one in first] == ["post number 2"]
        assert [one.text for one in second] == ["post number 5", "post number 2"]

    def test_without_news_it_stays(self) -> None:
        feed = Feed()
        now = totals(labelled=3, dead=0, rows=tuple(map(row, range(3))))

        assert feed.advance(now, 5) == feed.advance(now, 5)

    def test_one_dead_letter_is_enough(self) -> None:
        feed = Feed()
        dead = row(99, None)
        shown = [
            feed.advance(totals(labelled=10 * n, dead=0, rows=(dead, *map(row, range(n)))), 5)
            for n in range(1, 5)
        ][-1]

        assert sum(one.label is None for one in shown) == 1


class TestServers:
    def test_only_the_model_and_its_batches_are_the_users(self) -> None:
        given = load(
            {
                "model.backend": "null",
                "batch.linger_ms": "7",
                "kafka.bootstrap_servers": "elsewhere:9092",
                "redis.password": "secret",
            },
            env={},
        )
        settings = demo_settings(given, bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:2/0")

        assert settings.model.backend == "null"
        assert settings.batch.linger_ms == 7
        assert settings.kafka.bootstrap_servers == "127.0.0.1:1"
        assert settings.redis.password is None
        assert settings.worker.http.port != settings.trends.http.port

    def test_the_environment_says_the_same_as_the_settings(self) -> None:
        given = load({"model.path": "/somewhere/model", "model.streams": "1"}, env={})
        settings = demo_settings(given, bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:2/0")

        assert load(env=environment(settings)) == settings

    def test_a_relative_model_path_is_the_users(self) -> None:
        given = load({"model.path": "runs/mine"}, env={})
        settings = demo_settings(given, bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:2/0")

        assert settings.model.path == Path("runs/mine").absolute()

    def test_what_the_user_has_set_for_elsewhere_is_taken_out(self) -> None:
        settings = demo_settings(Settings(), bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:2/0")
        environ = {
            "MOODSTREAM_REDIS__PASSWORD": "secret",
            "MOODSTREAM_REDIS__URL": "redis://far/0",
            "HOME": "/",
        }
        wanted = environment(settings)
        words = command("trends", wanted, environ)

        assert words[words.index("MOODSTREAM_REDIS__PASSWORD") - 1] == "-u"
        assert wanted["MOODSTREAM_REDIS__URL"] == "redis://127.0.0.1:2/0"
        assert "secret" not in " ".join(words)
        assert wanted["MOODSTREAM_TRENDS__HTTP__TOKEN"] not in " ".join(words)
        assert words[-3:] == ["-m", "worker", "trends"]


class TestInterrupts:
    def test_the_first_asks_and_the_second_insists(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        with interrupts() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(1)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

        assert signal.getsignal(signal.SIGTERM) is before
