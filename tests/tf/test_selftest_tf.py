"""One process of the self-test's stopwatch, for real."""

import math

import msgspec

from bench.analysis.ratios import pair_log_ratio
from bench.execution.selftest_items import run_stopwatch
from bench.records.record import Series
from bench.suites import Request, Timing, find_scenarios


def test_instrument_and_stopwatch_time_the_same_steps_alike():
    _, (scenario,) = find_scenarios(["train-step"])
    timing = Timing(warmup_steps=4, blocks=6, block_seconds=0.1)
    request = Request(
        suite="selftest", scenario=msgspec.structs.replace(scenario, timing=timing), strategy="cpu"
    )
    both = msgspec.json.decode(run_stopwatch(request), type=dict[str, Series])
    instrument, stopwatch = both["instrument"], both["stopwatch"]
    assert instrument.steps == stopwatch.steps
    assert len(instrument.seconds) == len(stopwatch.seconds) == 6
    # Whether they agree within 3 % is for the self-test to say, over several processes.
    assert abs(math.expm1(pair_log_ratio(stopwatch, instrument))) < 0.5
    # The very same steps on two clocks.
    assert abs(math.expm1(pair_log_ratio(both["trace"], both["traced"]))) < 0.05
