"""What the records mean: whatever happened in whatever order, the sums add up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill.ledger import Ledger
from cot_distill.records import Known, Slot, address, verdict_mark
from cot_distill.retry import Tries
from cot_distill.types import Completion, Failure, Message, Sampling, Task, Usage, Verdict

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def slot(number: int = 0, attempt: int = 0, *, order: int | None = None, words: str = "question") -> Slot:
    task = Task(id=number, instruction=f"{words} {number}")
    return Slot.make(task, attempt, number if order is None else order, task.prompt())


def answer(tokens: int = 10, **fields: object) -> Completion:
    usage = Usage(prompt_tokens=1, completion_tokens=tokens)
    return Completion.model_validate({"reasoning": "r", "content": "a", "usage": usage, **fields})


def failure(kind: str = "http", tries: int = 1) -> Failure:
    return Failure(task=Task(instruction="q"), stage="request", kind=kind, message="no", tries=tries)


def known_of(ledger: Ledger, slot: Slot) -> Known:
    known = ledger.known().get(address(slot))
    assert known is not None
    return known


def lines_of(path: Path) -> list[str]:
    return (path / "journal-00000.jsonl").read_text(encoding="utf-8").splitlines()


def reopened(path: Path) -> Ledger:
    return Ledger(path, writable=False)


# Digests


def test_the_ids_1_and_text_1_are_two_tasks() -> None:
    keys = {Slot.make(Task(id=given, instruction="q"), 0, 0, ()).key for given in (1, "1", 0, "0", -1, 2**70, "")}
    assert len(keys) == 7


def test_the_prompt_changes_with_the_messages_and_the_content_with_the_task() -> None:
    task = Task(id=1, instruction="q", answer="4")
    asked = Slot.make(task, 0, 0, task.prompt())
    corrected = Slot.make(task.model_copy(update={"answer": "5"}), 0, 0, task.prompt())
    assert (corrected.key, corrected.prompt) == (asked.key, asked.prompt)
    assert corrected.content != asked.content
    for messages in ([], [Message(role="system", content="q")], [*task.prompt(), *task.prompt()]):
        assert Slot.make(task, 0, 0, messages).prompt != asked.prompt


def test_attempts_have_addresses_of_their_own() -> None:
    places = {address(slot(number, attempt)) for number in range(3) for attempt in range(3)}
    assert len(places) == 9
    assert {len(place) for place in places} == {20}


@given(st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4))
def test_the_mark_of_a_verdict_names_a_set_of_verifiers(names: list[str], others: list[str]) -> None:
    mark = verdict_mark(names)
    assert 0 < mark < 2**31
    assert mark == verdict_mark(list(reversed(names)))
    assert (mark == verdict_mark(others)) == (sorted(names) == sorted(others))


# What is due


@pytest.mark.parametrize(
    ("kind", "cut_at", "own_cap", "max_tokens", "due"),
    [
        ("completion", 0, False, 100, False),
        ("refusal", 0, False, 100, False),
        ("failure", 0, False, 100, True),
        ("reopened", 0, False, 100, True),
        ("cut", 100, True, 50, False),
        ("cut", 100, True, 100, False),
        ("cut", 100, True, 101, True),
        ("cut", 100, True, None, True),  # no cap is higher than any
        ("cut", 100, False, None, False),  # the server's own limit: asking again would be cut at the same place
        ("cut", 100, False, 90, False),
        ("cut", 100, False, 200, True),
    ],
)
def test_only_what_is_missing_or_was_cut_by_a_lower_cap_is_due(
    kind: str, cut_at: int, own_cap: bool, max_tokens: int | None, due: bool
) -> None:
    place = slot()
    known = Known(0, kind, place.prompt, place.content, cut_at << 1 | own_cap, 0)
    sampling = Sampling(max_tokens=max_tokens)
    assert known.is_due(slot(), sampling) is due
    assert known.is_due(place, sampling) is due
    assert known.is_due(slot(words="other words"), sampling) is True


@pytest.mark.parametrize(
    ("sampling", "tokens", "mark"),
    [
        (Sampling(max_tokens=100), 100, 100 << 1 | 1),
        (Sampling(max_tokens=100), 60, 100 << 1 | 1),  # cut earlier than we asked for: more would not help there
        (Sampling(), 4096, 4096 << 1),
    ],
)
def test_where_an_answer_was_cut_is_remembered(tmp_path: Path, sampling: Sampling, tokens: int, mark: int) -> None:
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.completion(slot(), answer(tokens, finish_reason="length"), sampling, Tries(1))
    with reopened(tmp_path) as ledger:
        known = known_of(ledger, slot())
    assert (known.kind, known.mark) == ("cut", mark)


# The latest counts


def test_the_latest_answer_counts_and_takes_its_verdict_along(tmp_path: Path) -> None:
    verdict = Verdict(by="v", passed=True)
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.completion(slot(), answer(content="first"), Sampling(), Tries(1))
        ledger.verdicts(slot().head("verdict"), {"id": verdict}, mark=verdict_mark(["v"]) << 1 | 1)
        ledger.completion(slot(), answer(content="second"), Sampling(), Tries(1))
    with reopened(tmp_path) as ledger:
        (record,) = ledger.records()
        assert known_of(ledger, slot()).verdict == 0
    assert record.completion is not None
    assert (record.completion.content, record.verdicts) == ("second", ())


def test_an_attempt_that_is_opened_again_keeps_its_answer_until_there_is_a_new_one(tmp_path: Path) -> None:
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.completion(slot(), answer(), Sampling(), Tries(1))
        ledger.reopen(slot().head("completion"))
        ledger.reopen(slot(5).head("completion"))  # never asked: nothing to open
    with reopened(tmp_path) as ledger:
        assert (len(ledger.known()), known_of(ledger, slot()).kind) == (1, "reopened")
        assert len(list(ledger.records())) == 1
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.completion(slot(), answer(), Sampling(), Tries(1))
    with reopened(tmp_path) as ledger:
        assert known_of(ledger, slot()).kind == "completion"


def test_a_corrected_task_takes_the_place_of_the_old_one_and_voids_the_verdict(tmp_path: Path) -> None:
    task = Task(id=1, instruction="q", answer="41")
    corrected = task.model_copy(update={"answer": "42"})
    slots = [Slot.make(one, 0, 0, task.prompt()) for one in (task, corrected)]
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.completion(slots[0], answer(), Sampling(), Tries(1))
        ledger.verdicts(slots[0].head("verdict"), {"id": Verdict(by="v", passed=False)}, mark=2)
        ledger.correct(slots[1])
    with reopened(tmp_path) as ledger:
        known = known_of(ledger, slots[1])
        (record,) = ledger.records()
    assert (known.content, known.verdict) == (slots[1].content, 0)
    assert (record.task, record.verdicts) == (corrected, ())


def test_records_come_in_the_order_of_tasks_and_attempts(tmp_path: Path) -> None:
    places = [(number, attempt) for number in range(5) for attempt in range(3)]
    with Ledger(tmp_path, writable=True) as ledger:
        for number, attempt in sorted(places, key=lambda place: (place[1], -place[0])):
            ledger.completion(slot(number, attempt), answer(), Sampling(), Tries(1))
    with reopened(tmp_path) as ledger:
        assert [(record.task.id, record.attempt) for record in ledger.records()] == places


def test_a_record_holds_the_answer_word_for_word(tmp_path: Path) -> None:
    whole = Completion(
        content="\u2028 ü \U0001f9ee \x00 </think>",
        reasoning="r" * 100_000,
        trace_kind="summary",
        usage=Usage(reasoning_tokens=3),
        logprobs={"content": [{"token": "a", "logprob": -0.5}]},
        raw='{"id": 1}',
        latency=0.25,
    )
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.completion(slot(), whole, Sampling(), Tries(4))
    with reopened(tmp_path) as ledger:
        (record,) = ledger.records()
    assert (record.completion, record.task, record.tries) == (whole, slot().task, 4)


# Sessions


def test_sessions_that_were_killed_are_told_from_those_that_ended(tmp_path: Path) -> None:
    for workers, ended, abandoned in [(4, True, 2), (8, False, 0), (16, False, 0), (3, True, 0)]:
        with Ledger(tmp_path, writable=True) as ledger:
            ledger.note("started", workers=workers)
            ledger.completion(slot(), answer(), Sampling(), Tries(1))
            if ended:
                ledger.note("ended", abandoned=abandoned, skipped=workers)
    with reopened(tmp_path) as ledger:
        sessions = ledger.sessions(running=False)
    assert (sessions.number, sessions.killed, sessions.skipped) == (4, 2, 3)
    assert sessions.abandoned == 2 + 8 + 16
    times = [json.loads(line)["at"] for line in (tmp_path / "journal-00000.jsonl").read_bytes().splitlines()]
    assert 0 < sessions.seconds <= times[-1] - times[0]


def test_an_empty_ledger_adds_up_to_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path, writable=True) as ledger:
        assert not list(ledger.records())
        assert ledger.sessions(running=False) == (0, 0, 0, 0.0, 0)
        assert (ledger.spent(), ledger.used(), len(ledger.known())) == ((0, 0, 0, 0, {}), 0, 0)


def test_what_was_used_is_read_from_the_ends_of_sessions_and_else_from_the_answers(tmp_path: Path) -> None:
    def session(path: Path, numbers: range, *, ended: bool) -> None:
        with Ledger(path, writable=True) as ledger:
            ledger.note("started", workers=1)
            for number in numbers:
                ledger.completion(slot(number), answer(), Sampling(), Tries(1, used=10))
                ledger.failure(slot(number, 1), failure(), Tries(1, used=1), final=False)
            if ended:
                ledger.note("ended", abandoned=0, skipped=0)

    expected = 0
    for turn, ended in enumerate([True, False, False, True, True, False]):
        session(tmp_path, range(turn, turn + 3), ended=ended)
        expected += 33
        with reopened(tmp_path) as ledger:
            assert ledger.used() == expected
    ends = [line for line in lines_of(tmp_path) if '"ended"' in line]
    assert [json.loads(line)["used"] for line in ends] == [33, 33, 33]


def test_answers_of_a_session_that_ended_are_not_read_for_what_they_used(tmp_path: Path) -> None:
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.note("started", workers=1)
        ledger.completion(slot(), answer(), Sampling(), Tries(1, used=10))
        for _ in range(100):  # the last ones are read at the opening
            ledger.note("ended", abandoned=0, skipped=0)
    segment = tmp_path / "journal-00000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"used":10,"task"', b'"used":99,"task"'))
    with reopened(tmp_path) as ledger:
        assert ledger.used() == 1000


def test_records_as_they_were_once_written_are_read(tmp_path: Path) -> None:
    """Without identities of verifiers, without what a verdict and a session used, and without costs."""
    verdict = Verdict(by="v", passed=True)
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.note("started", workers=1)
        ledger.completion(slot(), answer(), Sampling(), Tries(1, used=10))
        ledger.verdicts(slot().head("verdict"), {"id": verdict}, mark=3)
        ledger.note("ended", abandoned=0, skipped=0)
    old = [json.loads(line) for line in lines_of(tmp_path)]
    for record, fields in zip(old, [(), ("cost",), ("by", "used"), ("used", "paid")], strict=True):
        for field in fields:
            del record[field]
    (tmp_path / "journal-00000.jsonl").write_text("".join(json.dumps(record) + "\n" for record in old))
    (tmp_path / "journal.idx").unlink()
    with reopened(tmp_path) as ledger:
        (record,) = ledger.records()
        assert record.verdicts == (verdict,)
        known = ledger.known(said=True).get(address(slot()))
        assert known is not None
        assert (known.verdict, known.judged, ledger.said_of(known)) == (3, 2, {})
        assert (ledger.used(), ledger.spent()) == (10, (0, 0, 0, None, {}))


# Whatever happened


class Event(NamedTuple):
    number: int
    attempt: int
    what: str
    tokens: int
    tries: int


EVENTS = st.lists(
    st.builds(
        Event,
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from(
            ["completion", "cut", "failure", "refusal", "verdict", "crash", "reopened", "new session", "pack"]
        ),
        st.integers(0, 50),
        st.integers(1, 4),
    ),
    max_size=25,
)


def book(path: Path, events: Sequence[Event]) -> None:
    ledger = Ledger(path, writable=True)
    for number, attempt, what, tokens, tries in events:
        place = slot(number, attempt)
        if what == "new session":
            ledger.journal.close()
            ledger = Ledger(path, writable=True)
        elif what == "pack":
            ledger.journal.compact()
        elif what in ("completion", "cut"):
            reason = "stop" if what == "completion" else "length"
            ledger.completion(
                place, answer(tokens, finish_reason=reason), Sampling(max_tokens=50), Tries(tries, used=3)
            )
        elif what in ("failure", "refusal"):
            ledger.failure(place, failure(tries=tries), Tries(tries, used=3), final=what == "refusal")
        elif what in ("verdict", "crash"):
            ledger.verdicts(place.head("verdict"), {}, mark=5, crash="bug" if what == "crash" else None)
        else:
            ledger.reopen(place.head("completion"))
    ledger.journal.close()


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_the_sums_add_up_whatever_happened(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    path = tmp_path_factory.mktemp("run")
    book(path, events)
    answers = [event for event in events if event.what in ("completion", "cut", "failure", "refusal")]
    latest: dict[tuple[int, int], Event] = {}
    for event in answers:  # no failure takes an answer away
        before = latest.get((event.number, event.attempt))
        if before is None or before.what not in ("completion", "cut") or event.what in ("completion", "cut"):
            latest[event.number, event.attempt] = event
    with reopened(path) as ledger:
        records = list(ledger.records())
        known = ledger.known()
        superseded: list[Usage] = []
        spent, used = ledger.spent(superseded.append), ledger.used()
        found = {place: known.get(address(slot(*place))) for place in [(n, k) for n in range(4) for k in range(3)]}
    assert [(record.task.id, record.attempt) for record in records] == sorted(latest)
    assert {place for place, one in found.items() if one is not None} == latest.keys()
    assert len(known) == len(latest)
    for record in records:
        event = latest[int(record.task.id), record.attempt]
        answered = event.what in ("completion", "cut")
        assert (record.completion is not None, record.failure is not None) == (answered, not answered)
        assert record.tries == event.tries
    paid = [event for event in answers if event.what in ("completion", "cut")]
    kept = [record.completion.usage for record in records if record.completion is not None]
    both = [*kept, *superseded]
    assert spent.superseded == len(superseded)
    assert sorted(usage.completion_tokens or 0 for usage in both) == sorted(event.tokens for event in paid)
    assert used == 3 * len(answers)
    assert spent.retries == sum(event.tries - 1 for event in answers)
