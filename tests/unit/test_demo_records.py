from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest

from worker.demo.posts import samples
from worker.demo.records import FAULTS, OWN, Kind, Made, RecordMaker
from worker.errors import BadRecordError
from worker.stream.decode import Deletion, decode, written_at
from worker.types import LABELS, Post, Record

NOW = 1_700_000_000.25


def made(n: int, seed: int = 4) -> list[Made]:
    maker = RecordMaker(samples(), seed)
    return [maker.make(NOW) for _ in range(n)]


def record(one: Made) -> Record:
    return Record(one.topic, 0, 0, one.key, one.value, 0)


class TestSamples:
    def test_there_are_enough_of_every_label(self) -> None:
        counts = Counter(sample.expected for sample in samples())

        assert counts.total() >= 420
        assert set(counts) == set(LABELS)
        assert min(counts.values()) >= 55
        assert {sample.topic for sample in samples()} == {"tweets", "feedback"}

    def test_no_post_is_there_twice_and_all_are_short(self) -> None:
        texts = [sample.text for sample in samples()]

        assert len({text.casefold() for text in texts}) == len(texts)
        assert all(10 <= len(text) <= 280 and text == text.strip() for text in texts)

    def test_links_and_names_are_nobodys(self) -> None:
        for sample in samples():
            assert all(host == "example.com" for host in re.findall(r"https?://([^/\s]+)", sample.text))
            assert all("example" in name for name in re.findall(r"@(\w+)", sample.text))

    def test_they_look_like_posts_of_today(self) -> None:
        text = "\n".join(sample.text for sample in samples())

        assert len(re.findall(r"#\w+", text)) >= 20
        assert len(re.findall(r"@\w+", text)) >= 10
        assert len(re.findall(r"https://", text)) >= 5
        assert len(re.findall("[\U0001f300-\U0001faff❤]", text)) >= 80
        assert len(re.findall(r"\b[A-Z]{3,}\b", text)) >= 30


class TestRecords:
    def test_posts_decode_to_what_was_written(self) -> None:
        posts = [one for one in made(300) if one.kind is Kind.POST]

        for one in posts:
            post = decode(record(one))
            assert isinstance(post, Post)
            assert one.key == OWN + str(post.id).removeprefix("demo-").encode()
            assert post.text == one.text
            assert post.lang == "en"
            assert post.source in {"web", "android", "ios", "support"}
            assert written_at(post, record(one)).timestamp() == NOW
        assert {type(decode(record(one)).id) for one in posts} == {int, str}  # type: ignore[union-attr]

    def test_what_is_expected_is_never_sent(self) -> None:
        assert all(b'"expected"' not in (one.value or b"") for one in made(1000))

    @pytest.mark.parametrize("fault", FAULTS)
    def test_each_malformed_record_is_wrong_in_its_way(self, fault: str) -> None:
        one = next(one for one in made(2000) if one.kind is Kind.MALFORMED and one.text == fault)

        with pytest.raises(BadRecordError) as caught:
            written_at(decode(record(one)), record(one))  # type: ignore[arg-type]
        assert caught.value.kind == fault

    def test_shares_are_as_said(self) -> None:
        kinds = Counter(one.kind for one in made(20_000))

        assert kinds[Kind.MALFORMED] / 20_000 == pytest.approx(0.02, abs=0.004)
        assert kinds[Kind.DELETION] / 20_000 == pytest.approx(0.01, abs=0.003)

    def test_a_short_demo_has_some_of_everything(self) -> None:
        kinds = Counter(one.kind for one in made(400))

        assert kinds[Kind.MALFORMED] >= 4
        assert kinds[Kind.DELETION] >= 2

    def test_a_deletion_takes_back_a_post_sent_before_and_once(self) -> None:
        sent: set[tuple[str, bytes]] = set()
        taken_back: list[tuple[str, bytes]] = []
        for one in made(5000):
            if one.kind is Kind.DELETION:
                assert isinstance(decode(record(one)), Deletion)
                assert (one.topic, one.key) in sent
                taken_back.append((one.topic, one.key))
            elif one.kind is Kind.POST:
                sent.add((one.topic, one.key))

        assert len(taken_back) == len(set(taken_back)) > 10

    def test_keys_are_unique(self) -> None:
        keys = [one.key for one in made(3000) if one.kind is not Kind.DELETION]

        assert len(set(keys)) == len(keys)

    def test_every_post_of_a_mood_comes_once_a_round_in_another_order(self) -> None:
        joy = {sample.text for sample in samples() if sample.expected == "joy"}
        everything = [one.text for one in made(10 * len(samples())) if one.text in joy]
        first, later = everything[: len(joy) - 8], everything[len(joy) : 2 * len(joy) - 8]

        assert len(set(first)) == len(first)  # but for the few that were sent broken
        assert first != later

    def test_moods_swing(self) -> None:
        expected = {sample.text: sample.expected for sample in samples()}
        maker = RecordMaker(samples())
        shares = []
        for minute in range(61):
            texts = [maker.make(NOW + 60 * minute).text for _ in range(200)]
            moods = Counter(expected[text] for text in texts if text in expected)
            shares.append(moods["anger"] / moods.total())
        assert max(shares) > 2.5 * min(shares)

    def test_the_past_is_written_before_now_oldest_first(self) -> None:
        past = list(RecordMaker(samples()).past(NOW, 30, 20))
        posts = [record(one) for one in past if one.kind is Kind.POST]
        times = [written_at(decode(one), one).timestamp() for one in posts]  # type: ignore[arg-type]

        assert len(past) == 600
        assert all(one.past for one in past)
        assert times == sorted(times)
        assert NOW - 1800 <= times[0] < times[-1] < NOW
        assert list(RecordMaker(samples()).past(NOW, 0, 20)) == []

    def test_the_same_seed_makes_the_same_records(self) -> None:
        assert made(500, seed=7) == made(500, seed=7)
        assert made(500, seed=7) != made(500, seed=8)

    def test_making_one_costs_little(self) -> None:
        maker = RecordMaker(samples())
        begin = time.perf_counter()
        for _ in range(2000):
            maker.make(NOW)

        assert time.perf_counter() - begin < 1.0

    def test_they_are_json_that_people_can_read(self) -> None:
        one = next(one for one in made(10) if one.kind is Kind.POST)

        assert json.loads(one.value or b"")["created_at"].startswith("2023-11-14T22:13:20.25")
