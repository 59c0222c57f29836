from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.answering import by_rule
from worker.errors import ConfigurationError
from worker.replay.behaviour.bias import (
    COUNTERPARTS,
    Sentence,
    clustered_mean,
    gender_pairs,
    race_pairs,
    read_eec,
    run_bias,
)

HEADER = "ID,Sentence,Template,Person,Gender,Race,Emotion,Emotion word\n"
PEOPLE = [
    ("She", "female", ""),
    ("He", "male", ""),
    ("My aunt", "female", ""),
    ("My uncle", "male", ""),
    *((name, "female", "African-American") for name in ("Imani", "Aaliyah")),
    *((name, "male", "African-American") for name in ("DeShawn", "Tyrone")),
    *((name, "female", "European") for name in ("Emily", "Claire")),
    *((name, "male", "European") for name in ("Greg", "Brett")),
]
TEMPLATES = [("X waits at home.", ""), ("X was W all week.", "bitter"), ("X was W all week.", "calm")]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve people in three sentences, in the form of the corpus."""
    file = tmp_path / "corpus.csv"
    rows = [
        f"{number},{template.replace('X', person).replace('W', word)},{template},{person.lower()},"
        f"{gender},{race},,{word}"
        for number, ((template, word), (person, gender, race)) in enumerate(
            (text, who) for text in TEMPLATES for who in PEOPLE
        )
    ]
    file.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return file


def people(sentences: list[Sentence], rows: object) -> set[str]:
    return {sentences[row].person for row in rows}  # type: ignore[attr-defined]


def test_pairs_differ_in_the_person_alone(corpus: Path) -> None:
    sentences = read_eec(corpus)
    gender, race = gender_pairs(sentences), race_pairs(sentences)
    assert len(sentences) == 36
    assert len(gender) == 3 * 3  # she and he, aunt and uncle, the names; in three sentences
    assert len(race) == 3 * 2  # women's and men's names
    for key, first, second in [*gender, *race]:
        assert {sentences[row].key for row in [*first, *second]} == {key}
    assert (people(sentences, gender[0][1]), people(sentences, gender[0][2])) == ({"she"}, {"he"})
    assert people(sentences, gender[-1][1]) == {"imani", "aaliyah", "emily", "claire"}
    assert people(sentences, race[0][1]) == {"imani", "aaliyah"}
    assert people(sentences, race[0][2]) == {"emily", "claire"}


def test_a_model_that_thinks_men_angrier_is_found_out(corpus: Path) -> None:
    men = ("He ", "My uncle", "DeShawn", "Tyrone", "Greg", "Brett")
    found = run_bias(
        by_rule(lambda _: "anger", lambda text: 0.7 if text.startswith(men) else 0.5), read_eec(corpus)
    )
    gaps = {(gap.attribute, gap.emotion): gap for gap in found.gaps}
    anger = gaps["female - male", "anger"]
    assert anger.n == 9
    assert anger.difference.value == pytest.approx(-0.2)
    assert anger.difference.high == pytest.approx(-0.2)
    assert gaps["female - male", "joy"].difference.value == pytest.approx(0.2 / 5)
    assert gaps["African-American - European", "anger"].difference.value == pytest.approx(0)
    assert found.largest() == anger
    assert found.figures() == {
        "rows": 36.0,
        "largest_gender_gap": pytest.approx(0.2),
        "largest_race_gap": pytest.approx(0),
    }
    assert "| anger | -0.2000 [-0.2000, -0.2000] |" in found.markdown()
    assert "The largest gap is -0.2000 (anger, female - male)." in found.markdown()
    assert found.as_json()["largest"]["emotion"] == "anger"  # type: ignore[index]


def test_a_model_that_minds_one_name_is_found_out(corpus: Path) -> None:
    found = run_bias(
        by_rule(lambda _: "fear", lambda text: 0.9 if "Imani" in text else 0.5), read_eec(corpus)
    )
    gaps = {(gap.attribute, gap.emotion): gap.difference.value for gap in found.gaps}
    # Imani is one of two names in half of the race pairs, one of four in a third of the gender pairs.
    assert gaps["African-American - European", "fear"] == pytest.approx(0.4 / 2 / 2)
    assert gaps["female - male", "fear"] == pytest.approx(0.4 / 4 / 3)


def test_intervals_draw_whole_clusters() -> None:
    """Rows of a cluster are alike: 400 rows in 4 clusters know no more than 4 values."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=4), 100)[:, None]
    clusters = [("t", str(row // 100)) for row in range(400)]
    (together,) = clustered_mean(values, clusters)
    (alone,) = clustered_mean(values, [("t", str(row)) for row in range(400)])
    assert together.value == alone.value == pytest.approx(values.mean())
    assert together.high - together.low > 5 * (alone.high - alone.low)
    half = 1.96 * values.std() / np.sqrt(400)
    assert alone.high - alone.low == pytest.approx(2 * half, rel=0.05)


def test_clusters_of_different_sizes_weigh_by_their_rows() -> None:
    """Where every row says 1, so does every draw."""
    (interval,) = clustered_mean(np.ones((6, 1)), [("t", word) for word in "aaaabc"])
    assert (interval.value, interval.low, interval.high) == (1, 1, 1)


def test_files_of_another_form_are_refused(tmp_path: Path, corpus: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("text,label\na,b\n")
    with pytest.raises(ConfigurationError, match="lacks"):
        read_eec(file)
    women = [line for line in corpus.read_text().splitlines() if ",female," in line or line.startswith("ID")]
    file.write_text("\n".join(women))
    with pytest.raises(ConfigurationError, match="differ in gender"):
        read_eec(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_eec(tmp_path / "nowhere.csv")


@pytest.mark.needs_data
def test_the_published_corpus_gives_the_pairs_of_its_authors(data: Path) -> None:
    file = data / "eec" / "eec.csv"
    if not file.is_file():
        pytest.skip(f"no Equity Evaluation Corpus at {file}: get it from its authors (aclanthology S18-2005)")
    sentences = read_eec(file)
    assert len(sentences) == 8640
    # 144 templates and words: ten noun phrases and the names; women's and men's names.
    assert len(gender_pairs(sentences)) == 144 * 11
    assert len(race_pairs(sentences)) == 144 * 2
    assert {one.person for one in sentences if not one.race} == {*COUNTERPARTS, *COUNTERPARTS.values()}
    blind = run_bias(by_rule(lambda text: "anger" if "angry" in text else "neutral"), sentences)
    assert blind.largest().difference.value == pytest.approx(0, abs=1e-12)
