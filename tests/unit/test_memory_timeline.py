"""The memory timeline, with a clock and readings of our own."""

import time

import pytest

from bench.measuring.memory import MOST_POINTS, TIMELINE_SECONDS, MemoryTimeline
from bench.records.record import Memory

NOTHING = Memory(peak_resident_bytes=1)


class Process:
    """A process whose memory and time the test sets."""

    def __init__(self) -> None:
        self.now, self.resident = 100.0, 0
        self.timeline = MemoryTimeline(read=lambda: self.resident, clock=lambda: self.now)

    def read(self, *residents: int) -> None:
        """Reads in the middle of so many intervals, one after another."""
        for resident in residents:
            self.resident = resident
            self.timeline.read_now()
            self.now += TIMELINE_SECONDS

    @property
    def memory(self) -> Memory:
        return self.timeline.add_to(NOTHING)


@pytest.fixture
def process() -> Process:
    made = Process()
    made.now += TIMELINE_SECONDS / 2
    return made


def test_a_timeline_holds_ten_readings_a_second_from_the_start_on(process: Process) -> None:
    process.read(5, 7, 6)
    assert process.memory.timeline_bytes == (5, 7, 6)
    assert process.memory.timeline_interval_seconds == pytest.approx(0.1)
    assert process.memory.peak_resident_bytes == 1


def test_what_was_missed_is_filled_so_that_the_times_stay_right(process: Process) -> None:
    process.read(5)
    process.now += 3 * TIMELINE_SECONDS  # something held Python's lock
    process.read(9, 4)
    assert process.memory.timeline_bytes == (5, 9, 9, 9, 9, 4)


def test_a_second_look_within_an_interval_adds_no_point(process: Process) -> None:
    process.read(5)
    process.now -= TIMELINE_SECONDS
    process.read(8)
    assert process.memory.timeline_bytes == (5,)


def test_a_long_run_is_thinned_to_the_larger_of_each_two(process: Process) -> None:
    process.read(*range(MOST_POINTS))
    assert len(process.memory.timeline_bytes) == MOST_POINTS
    process.read(MOST_POINTS, 3)
    points = process.memory.timeline_bytes
    assert points == (*range(1, MOST_POINTS, 2), MOST_POINTS)
    assert process.memory.timeline_interval_seconds == pytest.approx(0.2)


def test_hours_stay_a_small_record_and_keep_their_peak(process: Process) -> None:
    for second in range(0, 7200, 100):
        process.now = 100.0 + second
        process.read(999 if second == 3600 else 1)
    points, interval = process.memory.timeline_bytes, process.memory.timeline_interval_seconds
    assert len(points) <= MOST_POINTS
    assert max(points) == 999
    assert interval is not None
    assert len(points) * interval == pytest.approx(7100, abs=2 * interval)


def test_ten_readings_a_second_cost_less_than_half_a_per_cent() -> None:
    timeline = MemoryTimeline()
    costs = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(200):
            timeline.read_now()
        costs.append((time.process_time() - start) / 200)
    assert min(costs) * 10 < 0.005


def test_the_memory_of_this_very_process_is_read() -> None:
    timeline = MemoryTimeline()
    timeline.read_now()
    (resident,) = timeline.add_to(NOTHING).timeline_bytes
    assert 2**23 < resident < 2**37
