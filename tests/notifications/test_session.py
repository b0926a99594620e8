"""The delivery session against a model: a log, a layer that loses, doubles and reorders, and a client."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifications.session import (
    FETCH_EVENTS,
    HELD_CHARACTERS,
    HELD_EVENTS,
    KNOWN_RUNS,
    SEND_CHARACTERS,
    SEND_EVENTS,
    CaughtUp,
    DeliverySession,
    Fetch,
    Gap,
    Position,
    Send,
)
from notifications.window import WINDOW_BYTES, WINDOW_EVENTS


def texts(run: str, first: int, last: int) -> list[str]:
    return [f"{run}:{seq}" for seq in range(first, last + 1)]


def rows(run: str, after: int, limit: int, head: int) -> list[tuple[int, str]]:
    return [(seq, f"{run}:{seq}") for seq in range(after + 1, min(head, after + limit) + 1)]


def drain(session: DeliverySession, log: dict[str, int], most: int = 10_000) -> list[object]:
    """Does what the session says until it says nothing; keeps what was sent (texts) and done (CaughtUp)."""
    done: list[object] = []
    for _ in range(most):
        match session.next():
            case Send(sent):
                done += sent
            case Fetch(run_id, after, limit):
                done += session.fetched(run_id, after, rows(run_id, after, limit, log[run_id])).texts
            case CaughtUp() | Gap() as other:
                done.append(other)
            case None:
                return done
    raise AssertionError("the session never comes to rest")


def test_it_tells_once_in_which_runs_a_client_has_got_on_and_how_far():
    session = DeliverySession()
    session.begin({"a": 4, "b": 7})
    assert session.take_moved() == {}

    session.receive("a", 5, texts("a", 5, 6))
    drain(session, {"a": 6})
    assert session.take_moved() == {"a": Position(6, None)}
    assert session.take_moved() == {}

    session.ack({"a": 5, "b": 7})
    assert session.take_moved() == {"a": Position(6, 5)}

    session.resume("r", {"b": 3}, {"b": 7})
    assert session.take_moved() == {"b": Position(3, 3)}
    drain(session, {"b": 7})
    assert session.take_moved() == {"b": Position(7, 3)}


def test_what_comes_live_is_sent_as_it_comes():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 2))
    session.receive("a", 3, texts("a", 3, 3))

    assert session.next() == Send(texts("a", 1, 3))
    assert session.next() is None


def test_a_duplicate_is_dropped_and_an_overlap_is_cut():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 3))
    session.receive("a", 1, texts("a", 1, 3))
    session.receive("a", 2, texts("a", 2, 5))

    assert drain(session, {"a": 5}) == texts("a", 1, 5)


def test_a_gap_is_read_from_the_log_up_to_what_is_held():
    session = DeliverySession()
    session.receive("a", 4, texts("a", 4, 5))

    assert session.next() == Fetch("a", 0, 3)
    assert session.fetched("a", 0, rows("a", 0, 3, 5)) == Send(texts("a", 1, 3))
    assert session.next() == Send(texts("a", 4, 5))
    assert session.next() is None


def test_a_head_alone_has_the_log_read():
    session = DeliverySession()
    session.learn_heads({"a": 3})

    assert drain(session, {"a": 3}) == texts("a", 1, 3)


def test_a_socket_gets_only_what_comes_after_its_beginning():
    session = DeliverySession()
    session.begin({"a": 17})
    session.receive("a", 15, texts("a", 15, 19))
    session.receive("b", 1, texts("b", 1, 1))

    assert drain(session, {"a": 19, "b": 1}) == [*texts("a", 18, 19), *texts("b", 1, 1)]


def test_heads_that_are_known_cause_nothing():
    session = DeliverySession()
    session.begin({"a": 17})
    session.learn_heads({"a": 17})
    session.learn_heads({"a": 3})

    assert session.next() is None


def test_a_resume_sends_all_after_the_cursor_then_says_so_once():
    session = DeliverySession()
    session.begin({"a": 5, "b": 2})
    session.resume("mark", {"a": 2, "b": 2}, {"a": 5, "b": 2})

    done = drain(session, {"a": 5, "b": 2})

    assert done == [*texts("a", 3, 5), CaughtUp("mark", {"a": 5, "b": 2})]
    assert session.next() is None


def test_an_empty_resume_is_caught_up_at_once():
    session = DeliverySession()
    session.resume(None, {}, {})

    assert session.next() == CaughtUp(None, {})
    assert session.next() is None


def test_a_resume_may_go_forward():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 10))
    session.resume("r", {"a": 8}, {"a": 10})

    assert drain(session, {"a": 10}) == [*texts("a", 9, 10), CaughtUp("r", {"a": 10})]


def test_live_events_sent_before_a_resume_are_sent_again_after_it():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 4))
    assert drain(session, {"a": 4}) == texts("a", 1, 4)

    session.resume("r", {"a": 1}, {"a": 4})
    session.receive("a", 5, texts("a", 5, 5))

    done = drain(session, {"a": 5})
    assert [one for one in done if isinstance(one, str)] == texts("a", 2, 5)
    assert done.index("a:4") < next(place for place, one in enumerate(done) if isinstance(one, CaughtUp))


def test_what_was_read_for_a_place_that_a_resume_has_moved_is_thrown_away():
    session = DeliverySession()
    session.learn_heads({"a": 6})
    assert session.next() == Fetch("a", 0, 6)
    session.resume("r", {"a": 4}, {"a": 6})

    assert session.fetched("a", 0, rows("a", 0, 6, 6)) == Send([])
    assert drain(session, {"a": 6}) == [*texts("a", 5, 6), CaughtUp("r", {"a": 6})]


def test_a_log_that_does_not_have_it_is_not_asked_for_ever():
    session = DeliverySession()
    session.receive("a", 4, texts("a", 4, 4))
    assert isinstance(session.next(), Fetch)
    assert session.fetched("a", 0, []) == Send([])
    assert session.next() is None

    session.learn_heads({"a": 4})
    assert drain(session, {"a": 4}) == texts("a", 1, 4)


def test_a_hole_in_what_was_read_is_not_jumped():
    session = DeliverySession()
    session.learn_heads({"a": 4})
    session.next()

    assert session.fetched("a", 0, [(1, "a:1"), (3, "a:3")]) == Send(["a:1"])


def test_runs_take_turns():
    session = DeliverySession()
    session.learn_heads({"a": 3 * FETCH_EVENTS, "b": 1})

    done = drain(session, {"a": 3 * FETCH_EVENTS, "b": 1})

    assert done.index("b:1") <= FETCH_EVENTS
    assert len(done) == 3 * FETCH_EVENTS + 1


def test_a_send_and_a_fetch_have_their_limits():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 450))
    session.learn_heads({"b": 10_000})
    first = session.next()
    assert isinstance(first, Send)
    assert len(first.texts) == SEND_EVENTS
    assert session.next() == Fetch("b", 0, FETCH_EVENTS)


def test_what_is_held_for_a_socket_is_bounded_and_the_rest_is_read():
    session = DeliverySession()
    for first in range(1, 10_001, 100):
        session.receive("a", first, texts("a", first, first + 99))

    assert session._held_events <= HELD_EVENTS
    assert drain(session, {"a": 10_000}) == texts("a", 1, 10_000)
    assert (session._held_events, session._held_characters) == (0, 0)


def test_of_a_batch_larger_than_its_room_a_session_holds_a_part_and_reads_the_rest():
    session = DeliverySession()
    batch = [f"{seq}".ljust(HELD_CHARACTERS // 10, ".") for seq in range(1, 31)]
    session.receive("a", 1, batch)

    assert session._held_characters == HELD_CHARACTERS
    sent: list[str] = []
    while (step := session.next()) is not None:
        assert isinstance(step, Send | Fetch)
        found = (
            step if isinstance(step, Send) else session.fetched("a", step.after, [*enumerate(batch, 1)][step.after :])
        )
        sent += found.texts
    assert sent == batch


def test_nothing_is_kept_for_a_client_that_does_not_read_and_it_misses_nothing():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 3))

    session.set_reading(is_reading=False)
    session.receive("a", 4, texts("a", 4, 6))
    assert (session._held_events, session._held_characters) == (0, 0)

    session.set_reading(is_reading=True)
    session.receive("a", 7, texts("a", 7, 8))
    assert session.next() == Fetch("a", 0, 6, "overflow")
    assert drain(session, {"a": 8}) == texts("a", 1, 8)


def test_what_is_sent_at_once_is_bounded_in_characters_too():
    session = DeliverySession()
    batch = [f"{seq}".ljust(SEND_CHARACTERS // 4, ".") for seq in range(1, 8)]
    session.receive("a", 1, batch)

    assert [session.next(), session.next()] == [Send(batch[:4]), Send(batch[4:])]


def test_a_client_that_acks_is_sent_no_more_than_the_window():
    session = DeliverySession()
    session.ack({})
    session.learn_heads({"a": 5_000})

    sent = drain(session, {"a": 5_000})
    assert (len(sent), session.is_blocked) == (WINDOW_EVENTS, True)
    session.ack({"a": 300})
    assert not session.is_blocked
    assert drain(session, {"a": 5_000}) == texts("a", 1_001, 1_300)


def test_a_client_that_never_acks_is_not_held_up():
    session = DeliverySession()
    session.learn_heads({"a": 5_000})

    assert len(drain(session, {"a": 5_000})) == 5_000


def test_the_window_counts_bytes_as_well():
    session = DeliverySession()
    session.ack({})
    large = "x" * (WINDOW_BYTES // 4)
    for seq in range(1, 7):
        session.receive("a", seq, [large])
        session.next()

    assert session.is_blocked
    session.ack({"a": 3})
    assert not session.is_blocked


def test_the_window_counts_bytes_on_the_wire_not_characters():
    session = DeliverySession()
    session.ack({})
    for seq in range(1, 5):
        session.receive("a", seq, ["💥" * (WINDOW_BYTES // 16)])
        session.next()

    assert session.is_blocked


def test_acks_that_make_no_sense_change_nothing():
    session = DeliverySession()
    session.receive("a", 1, texts("a", 1, 10))
    drain(session, {"a": 10})
    session.ack({"unknown": 5, "a": 10_000})
    session.ack({"a": 3})
    session.ack({"a": 0})

    assert (session._window._events, session._window._bytes) == (0, 0)


def test_a_resume_gives_back_the_window_that_its_runs_had_taken():
    session = DeliverySession()
    session.ack({})
    session.learn_heads({"a": 1_000})
    drain(session, {"a": 1_000})
    assert session.is_blocked

    session.resume("r", {"a": 990}, {"a": 1_000})

    assert drain(session, {"a": 1_000}) == [*texts("a", 991, 1_000), CaughtUp("r", {"a": 1_000})]


def test_a_run_that_goes_on_is_not_sent_again_because_many_others_came_by():
    session = DeliverySession()
    session.receive("mine", 1, texts("mine", 1, 3))
    assert drain(session, {"mine": 3}) == texts("mine", 1, 3)
    for number in range(KNOWN_RUNS + 1):
        session.receive(f"run{number}", 1, ["x"])
        drain(session, {})

    session.receive("mine", 4, texts("mine", 4, 4))

    assert drain(session, {"mine": 4}) == texts("mine", 4, 4)


def test_a_client_with_many_runs_can_resume_them_all():
    """A message of 64 KiB has room for 1,800 of them, and clients may send several."""
    session = DeliverySession()
    for part in range(3):
        cursors = {f"run{part}-{number}": 1 for number in range(1_500)}
        session.resume(f"part {part}", cursors, dict.fromkeys(cursors, 1))

    done = drain(session, {})

    assert [one.id for one in done if isinstance(one, CaughtUp)] == ["part 0", "part 1", "part 2"]


RUNS = ["a", "b", "c"]
SIZES = st.sampled_from([1, 1, 2, 3, 5, 90, 101, 600])


class Delivery(RuleBasedStateMachine):
    """The client takes only cursor + 1; the layer may do what it likes; the log is right."""

    @initialize(existing=st.dictionaries(st.sampled_from(RUNS), st.integers(1, 20)))
    def connect(self, existing):
        self.session = DeliverySession()
        self.log = dict.fromkeys(RUNS, 0) | existing
        self.layer: list[tuple[str, int, int]] = []
        self.place = dict.fromkeys(RUNS, 0) | existing  # the server's duty: the last seq it put on the wire
        self.cursor = dict(self.place)  # what the client has
        self.acked = dict(self.place)
        self.acking = False
        self.before_acking = 0
        self.resumes: dict[str, dict[str, int]] = {}
        self.caught_up: set[str] = set()
        self.fetch: Fetch | None = None
        self.number = 0
        self.session.begin(existing)

    @rule(is_reading=st.booleans())
    def stop_or_go_on_reading(self, is_reading):
        self.session.set_reading(is_reading=is_reading)

    @rule(run=st.sampled_from(RUNS), size=SIZES)
    def happen(self, run, size):
        self.layer.append((run, self.log[run] + 1, size))
        self.log[run] += size

    @precondition(lambda self: self.layer)
    @rule(data=st.data(), copies=st.sampled_from([0, 1, 1, 1, 2]))
    def carry(self, data, copies):
        index = data.draw(st.integers(0, len(self.layer) - 1))
        run, first, size = self.layer.pop(index)
        for _ in range(copies):
            self.session.receive(run, first, texts(run, first, first + size - 1))

    @rule()
    def compare_heads(self):
        self.session.learn_heads({run: head for run, head in self.log.items() if head})

    @rule(data=st.data(), runs=st.sets(st.sampled_from(RUNS)), honest=st.booleans())
    def resume(self, data, runs, honest):
        self.number += 1
        heads = {run: self.log[run] for run in runs}
        cursors = {
            run: self.cursor[run] if honest else data.draw(st.integers(0, self.log[run])) for run in sorted(runs)
        }
        self.session.resume(str(self.number), cursors, heads)
        self.resumes[str(self.number)] = heads
        for run, cursor in cursors.items():
            self.place[run] = self.acked[run] = self.cursor[run] = cursor

    @rule(runs=st.sets(st.sampled_from(RUNS)), less=st.sampled_from([0, 0, 1, 50]))
    def ack(self, runs, less):
        cursors = {run: max(0, self.cursor[run] - less) for run in runs}
        self.session.ack(cursors)
        for run, cursor in cursors.items():
            self.acked[run] = max(self.acked[run], cursor)
        if not self.acking:
            self.acking, self.before_acking = True, self.under_way()
        self.before_acking = min(self.before_acking, self.under_way())

    @rule()
    def ack_foolishly(self):
        self.session.ack({"unknown": 3})
        if not self.acking:
            self.acking, self.before_acking = True, self.under_way()

    @rule(times=st.integers(1, 5))
    def work(self, times):
        for _ in range(times):
            self.step()

    def step(self) -> bool:
        """One step of the sender; a read of the log takes two, and other things happen in between."""
        if self.fetch is not None:
            run, after, limit = self.fetch.run_id, self.fetch.after, self.fetch.limit
            assert 1 <= limit <= FETCH_EVENTS
            self.fetch = None
            self.arrive(self.session.fetched(run, after, rows(run, after, limit, self.log[run])).texts)
            return True
        match self.session.next():
            case Send(sent):
                self.arrive(sent)
            case Fetch() as fetch:
                self.fetch = fetch
            case CaughtUp(id_, places):
                assert id_ not in self.caught_up
                assert id_ is not None
                self.caught_up.add(id_)
                for run, target in self.resumes[id_].items():
                    assert places[run] == self.place[run] >= target
                assert places.keys() == self.resumes[id_].keys()
            case Gap():
                raise AssertionError("the log holds everything")
            case None:
                return False
        return True

    def arrive(self, sent: list[str]) -> None:
        for text in sent:
            run, _, seq = text.partition(":")
            assert int(seq) == self.place[run] + 1, "each in order and once"
            self.place[run] += 1
            if int(seq) == self.cursor[run] + 1:
                self.cursor[run] += 1
        if self.acking and sent:
            assert self.unacked() <= max(WINDOW_EVENTS, self.before_acking), "more than the window"

    def under_way(self) -> int:
        """What is read of the log just now was decided before."""
        return self.unacked() + (self.fetch.limit if self.fetch is not None else 0)

    def unacked(self) -> int:
        return sum(max(0, self.place[run] - self.acked[run]) for run in RUNS)

    @invariant()
    def nothing_is_sent_before_it_is_in_the_log(self):
        for run in RUNS:
            assert self.place[run] <= self.log[run]

    def teardown(self):
        """In the end a heartbeat comes: then the client has the log, and every resume has been answered."""
        if not hasattr(self, "session"):
            return
        self.compare_heads()
        total = sum(self.log.values())
        for _ in range(50 + 10 * total):
            if not self.step():
                if not self.session.is_blocked:
                    break
                self.session.ack(self.cursor)
                self.acked = {run: max(self.acked[run], min(self.cursor[run], self.place[run])) for run in RUNS}
        else:
            raise AssertionError("the session never comes to rest")
        assert self.cursor == self.place == self.log
        assert self.caught_up == set(self.resumes)
        assert (self.session._held_events, self.session._held_characters) == (0, 0)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_a_read_of_the_log_knows_why():
    session = DeliverySession()
    session.receive("lost", 3, texts("lost", 3, 3))
    assert session.next() == Fetch("lost", 0, 2, "gap")
    session.fetched("lost", 0, rows("lost", 0, 2, 3))

    session.resume("r", {"lost": 1}, {"lost": 2})
    assert session.next() == Fetch("lost", 1, 1, "resume")
    session.fetched("lost", 1, rows("lost", 1, 1, 3))
    drain(session, {"lost": 3})

    for first in range(1, HELD_EVENTS + 200, 100):
        session.receive("fast", first, texts("fast", first, first + 99))
    sent, causes = 0, []
    while (work := session.next()) is not None:
        if isinstance(work, Fetch):
            causes.append(work.cause)
            work = session.fetched("fast", work.after, rows("fast", work.after, work.limit, HELD_EVENTS + 200))
        assert isinstance(work, Send)
        sent += len(work.texts)
    assert set(causes) == {"overflow"}
    session.learn_heads({"fast": sent + 1})
    assert session.next() == Fetch("fast", sent, 1, "gap")
