"""Claims against what users would run instead: the tables agree, verdicts keep to their intervals."""

import ast
import math
import re
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from typer.testing import CliRunner

from bench.analysis.selftest_results import DONE_FILE, Done
from bench.cli import app
from bench.commands import peers as command
from bench.execution import peers_run
from bench.execution.command_calls import multiply_records, run_command
from bench.execution.comparison_plan import check_comparable
from bench.execution.items import run_items
from bench.execution.peers_run import How, list_measurements, list_peers, make_items
from bench.peers import table
from bench.peers.claims import CLAIMS, GROUPS, Target
from bench.peers.measurements import MEASUREMENTS, Calls, Comparison, Repeats
from bench.peers.readings import SAMPLES_FILE, CommandSamples
from bench.peers.table import LOADERS, LOOPS, TIMM_NETWORKS
from bench.peers.verdicts import Result, choose_claims, decide, judge_claims
from bench.records.record import Caution, Series, Turns
from bench.records.store import write_record
from bench.reporting.peers_page import PeersReport, result_text
from bench.scenarios.table import SCENARIOS
from bench.settings import read_settings
from bench.suites import Loader, Loop, Request
from tpuens.errors import ConfigurationError, InterruptedRunError, RunError
from tpuens.models.backbones import BACKBONES

ROOT = Path(__file__).resolve().parents[2]
NOISE = (0.01, -0.01, 0.005, -0.005, 0.008, -0.008)


def series(name: str, seconds: float, **parameters: str) -> Series:
    return Series(
        name=name, fence="block", steps=(10,), examples=(160,), seconds=(seconds,), parameters=parameters
    )


def compare(
    folder: Path,
    records: Any,
    name: str,
    ratio: float,
    phases: tuple[float, float] = (1.0, 1.0),
    **fields: Any,
) -> None:
    """Leaves behind a comparison in which B is so many times as fast, give or take 1 %."""
    for pair, drift in enumerate(NOISE):
        for arm, seconds, first in zip("AB", (ratio * math.exp(drift), 1.0), phases, strict=True):
            record = records.record(
                configuration={"strategy": "cpu"},
                series=(series("compute", seconds), series("input", seconds)),
                phases={"build": 9.0, "trace": first / 2, "first_step": first / 2},
                turns=Turns(comparison=name, pair=pair, arm=arm),
                **fields,
            )
            write_record(folder / name, record)
    finish(folder, name)


def finish(folder: Path, name: str, error: str | None = None) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / DONE_FILE).write_bytes(msgspec.json.encode(Done(seconds=1.0, error=error)))


def judge(folder: Path, key: str) -> Result:
    (result,) = judge_claims([claim for claim in CLAIMS if claim.key == key], folder)
    return result


def test_the_names_of_arms_are_those_that_a_scenario_may_have() -> None:
    assert get_args(Loader) == ("tpuens", *LOADERS)
    assert get_args(Loop) == ("tpuens", "keras-fit", *LOOPS)


@pytest.mark.parametrize("peer", [*LOADERS.values(), *LOOPS.values()], ids=lambda peer: peer.name)
def test_an_arm_names_a_function_that_is_there(peer: table.Peer) -> None:
    module, _, function = peer.factory.partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("measurement", MEASUREMENTS.values(), ids=lambda one: one.name)
def test_a_measurement_can_be_planned(measurement: Comparison | Repeats | Calls) -> None:
    if isinstance(measurement, Calls):
        assert measurement.words[0] == "tpuens-bench"
        return
    arms = (measurement.scenario,) if isinstance(measurement, Repeats) else (measurement.a, measurement.b)
    for scenario in arms:
        assert scenario.backbone is None or scenario.backbone in BACKBONES
        assert SCENARIOS[scenario.name].choose_strategies(["cpu"]) == ["cpu"]
        assert scenario.loop not in LOOPS or scenario.backbone in TIMM_NETWORKS
        assert msgspec.json.decode(msgspec.json.encode(scenario), type=type(scenario)) == scenario
    if isinstance(measurement, Comparison):
        a, b = (Request(suite="peers", scenario=arm, strategy="cpu") for arm in arms)
        check_comparable(a, b)
        same = msgspec.structs.replace(a.scenario, loader="tpuens", loop="tpuens")
        assert same == b.scenario


def test_a_claim_reads_what_is_measured_and_belongs_to_a_group() -> None:
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.group in GROUPS
        assert (claim.target.least is None) != (claim.target.most is None)
        assert bool(claim.measurement) != bool(claim.median_of)
        assert not claim.measurement or claim.measurement in MEASUREMENTS
        assert not claim.floor or MEASUREMENTS[claim.floor].a == MEASUREMENTS[claim.floor].b
    read = {name for claim in CLAIMS for name in (claim.measurement, claim.floor) if name}
    assert read == set(MEASUREMENTS)
    median = next(claim for claim in CLAIMS if claim.median_of)
    assert len(median.median_of) == 8
    assert {f"{median.group}/{name}" for name in median.median_of} <= {claim.key for claim in CLAIMS}


def test_patterns_choose_groups_and_claims_and_a_median_brings_its_networks() -> None:
    assert {claim.group for claim in choose_claims(["input"])} == {"input"}
    assert len(choose_claims(["input/224-*", "cache"])) == 7
    median = choose_claims(["step/median*"])
    assert len(median) == 1
    assert list_measurements(median)[0].name == "floor-step"
    assert len(list_measurements(median)) == 9
    with pytest.raises(ConfigurationError, match="'inputs'"):
        choose_claims(["inputs"])


def test_what_two_claims_read_is_measured_once() -> None:
    names = [
        one.name
        for one in list_measurements(choose_claims(["first-step/densenet201", "step/densenet201-k*"]))
    ]
    assert names == ["step-densenet201-keras-fit", "floor-step"]


@pytest.mark.parametrize(
    ("target", "low", "high", "verdict"),
    [
        (Target(least=2.2), 2.2, 2.5, "held"),
        (Target(least=2.2), 2.1999, 2.5, "too close to call"),
        (Target(least=2.2), 2.0, 2.1999, "not held"),
        (Target(least=2.2), 2.0, 2.2, "too close to call"),
        (Target(most=0.3), 0.2, 0.3, "held"),
        (Target(most=0.3), 0.2, 0.3001, "too close to call"),
        (Target(most=0.3), 0.3001, 0.4, "not held"),
        (Target(least=0.98, refuted=True), 0.9, 0.98, "held"),
        (Target(least=0.98, refuted=True), 0.9, 0.9799, "not held"),
    ],
)
def test_a_verdict_goes_by_the_whole_interval(target: Target, low: float, high: float, verdict: str) -> None:
    assert decide(target, math.sqrt(low * high), low, high) == verdict


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (Target(least=1.0), 1.021, "held"),
        (Target(least=1.0), 1.019, "too close to call"),
        (Target(least=1.0), 0.981, "too close to call"),
        (Target(least=1.0), 0.979, "not held"),
        (Target(most=1.0), 0.979, "held"),
        (Target(most=1.0), 1.019, "too close to call"),
        (Target(least=1.0, refuted=True), 1.01, "held"),
        (Target(least=1.0, refuted=True), 0.981, "too close to call"),
        (Target(least=1.0, refuted=True), 0.979, "not held"),
    ],
)
def test_what_lies_within_the_noise_floor_of_its_target_is_too_close(
    target: Target, value: float, verdict: str
) -> None:
    assert decide(target, value, value * 0.999, value * 1.001, floor=0.02) == verdict


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(2.3, "held"), (2.2, "too close to call"), (2.1, "not held")], ids=str
)
def test_a_comparison_is_judged_by_its_pairs(
    tmp_path: Path, records: Any, ratio: float, verdict: str
) -> None:
    compare(tmp_path, records, "input-224-article", ratio)
    result = judge(tmp_path, "input/224-article")
    assert result.verdict == verdict
    assert result.value == pytest.approx(ratio, rel=1e-3)
    assert result.samples == "6 pairs"
    assert result.low is not None
    assert result.low < ratio < (result.high or 0)


def test_time_to_the_first_step_is_tracing_and_the_step_of_each_pair(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "step-densenet201-keras-fit", 1.1, phases=(40.0, 10.0))
    result = judge(tmp_path, "first-step/densenet201")
    assert (result.value, result.verdict) == (pytest.approx(0.25), "held")


def test_an_aim_that_is_not_reached_is_said(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "input-224-decode-only", 0.83)
    result = judge(tmp_path, "input/224-decode-only")
    assert result.verdict == "held"
    assert result.why == "no noise floor; aim not reached"


def test_a_claim_is_held_to_the_noise_floor_of_its_own_machine(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "step-vgg16-timm", 1.03)
    assert judge(tmp_path, "step/vgg16-timm").verdict == "held"
    compare(tmp_path, records, "floor-step", 1.04)
    result = judge(tmp_path, "step/vgg16-timm")
    assert (result.verdict, result.why) == ("too close to call", "noise floor 5.0 %")
    other = records.environment(cpu_model="Another CPU")
    compare(tmp_path, records, "step-vgg16-timm-channels-last", 1.03, environment=other)
    result = judge(tmp_path, "step/vgg16-timm-channels-last")
    assert (result.verdict, result.why) == ("held", "no noise floor")


def test_the_median_needs_all_networks_and_shares_the_error(tmp_path: Path, records: Any) -> None:
    networks = next(claim for claim in CLAIMS if claim.median_of).median_of
    for place, name in enumerate(networks[:-1]):
        compare(tmp_path, records, f"step-{name}", 1.0 + 0.02 * place)
    assert judge(tmp_path, "step/median-keras-fit").why == "7 of 8 have an interval"
    compare(tmp_path, records, f"step-{networks[-1]}", 1.2)
    result = judge(tmp_path, "step/median-keras-fit")
    assert result.value == pytest.approx(1.07, rel=1e-2)
    single = judge(tmp_path, f"step/{networks[0]}")
    assert result.low is not None
    assert single.low is not None
    assert result.value is not None
    assert single.value is not None
    assert result.value / result.low > single.value / single.low


def test_what_was_not_run_or_failed_says_why(tmp_path: Path) -> None:
    assert judge(tmp_path, "input/512-grain").why == "it was not run"
    finish(tmp_path, "input-512-grain", error="Arm A failed: no such file")
    result = judge(tmp_path, "input/512-grain")
    assert (result.verdict, result.why) == ("not measured", "Arm A failed: no such file")


def test_one_pair_claims_nothing(tmp_path: Path, records: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "NOISE", (0.0,))
    compare(tmp_path, records, "input-224-article", 9.0)
    assert judge(tmp_path, "input/224-article").verdict == "too few runs"


def test_five_pairs_claim_nothing_however_narrow_and_neither_does_their_median(
    tmp_path: Path, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = next(claim for claim in CLAIMS if claim.median_of).median_of
    for name in networks[:-1]:
        compare(tmp_path, records, f"step-{name}", 1.2)
    monkeypatch.setattr(sys.modules[__name__], "NOISE", NOISE[:5])
    compare(tmp_path, records, f"step-{networks[-1]}", 1.2)
    result = judge(tmp_path, f"step/{networks[-1]}")
    assert (result.verdict, result.samples) == ("too few runs", "5 pairs")
    median = judge(tmp_path, "step/median-keras-fit")
    assert median.verdict == "too few runs"
    assert median.why == f"too few of {networks[-1]}; no noise floor"
    assert median.value == pytest.approx(1.2, rel=1e-2)


def test_ratios_within_a_record_and_calls_of_commands_are_read(tmp_path: Path, records: Any) -> None:
    for number in range(6):
        both = (
            series("throughput", 2.0, arm="sequential"),
            series("throughput", 1.0 + number / 100, arm="fused"),
        )
        write_record(tmp_path / "ensemble-fused", records.record("ensemble-inference", series=both))
    finish(tmp_path, "ensemble-fused")
    assert judge(tmp_path, "ensemble/throughput").verdict == "held"
    samples = CommandSamples(
        command="tpuens-bench run quick",
        seconds=(170.0, 171.0, 169.0, 170.0, 172.0, 168.0),
        measuring_seconds=(80.0, 80.5, 79.5, 80.0, 81.0, 79.0),
    )
    finish(tmp_path, "command-quick")
    (tmp_path / "command-quick" / SAMPLES_FILE).write_bytes(msgspec.json.encode(samples))
    assert judge(tmp_path, "commands/quick").verdict == "held"
    assert judge(tmp_path, "commands/quick-measuring").verdict == "not held"


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None if name == "torch" else object())
    for call in (
        lambda: read_settings({"loader": "torchvision"}),
        lambda: read_settings({"loop": "timm"}),
        lambda: LOADERS["torchvision"].load(),
        lambda: table.check_packages(list_peers(list_measurements(CLAIMS))),
    ):
        with pytest.raises(ConfigurationError, match=r"pip install 'tpuens\[peers\]'.*without torch$"):
            call()
    assert read_settings({"loader": "article"}) == {"loader": "article"}
    assert "torch" not in sys.modules


def test_a_finished_measurement_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(measurement: Any, folder: Path, seconds: float, how: How) -> None:
        ran.append(measurement.name)
        if len(ran) == 2:
            raise InterruptedRunError("Stopped.")

    monkeypatch.setattr(peers_run, "_run", run)
    measurements = list_measurements(choose_claims(["cache", "ensemble"]))
    items = make_items(measurements, How(budget_seconds=60.0, observer=None))  # type: ignore[arg-type]
    assert [item.seconds for item in items] == [60.0] * 3
    with pytest.raises(InterruptedRunError):
        run_items(items, tmp_path, tell=lambda line: None)
    run_items(items, tmp_path, tell=lambda line: None)
    assert ran == ["cache-cifar_cnn", "cache-mobilenetv2", "cache-mobilenetv2", "ensemble-fused"]


def test_the_page_shows_every_claim_its_target_and_its_verdict(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "input-224-article", 2.5)
    path = command.write_report(tmp_path)
    text = path.read_text()
    assert (
        "| to 224×224, against the article's pipeline | at least 2.2 × | 2.50 × (2.48 to 2.52) | held |"
        in text
    )
    assert text.count("not measured") == len(CLAIMS)  # all others, and the count of them
    assert "<svg" in (tmp_path / "peers.html").read_text()
    assert (tmp_path / "peers.svg").exists()
    stored = msgspec.json.decode((tmp_path / "peers.json").read_bytes(), type=PeersReport)
    assert len(stored.results) == len(CLAIMS)
    assert stored.versions["tensorflow"] == "2.21.0"


def test_a_page_of_several_machines_says_which_line_is_of_which(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "input-224-article", 2.5)
    assert "- **Machine**: " in command.write_report(tmp_path).read_text()
    compare(
        tmp_path, records, "input-512-article", 2.5, environment=records.environment(cpu_model="Another CPU")
    )
    text = command.write_report(tmp_path).read_text()
    assert "- **Machine A**: Another CPU" in text
    assert "- **Machine B**: " in text
    lines = [line for line in text.splitlines() if "against the article's pipeline" in line]
    assert [line.split(" | ")[-1] for line in lines] == [
        "on machine A; no noise floor |",
        "on machine B; no noise floor |",
    ]


def test_a_number_far_beyond_its_target_does_not_stretch_the_chart(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "input-224-article", 2.5)
    compare(tmp_path, records, "input-512-article", 2200.0)
    command.write_report(tmp_path)
    numbers = re.findall(r">([\d,.]+)</text>", (tmp_path / "peers.svg").read_text())
    assert numbers
    assert max(float(number.replace(",", "")) for number in numbers) <= 5


def test_cautions_of_the_runs_stand_beside_the_verdict(tmp_path: Path, records: Any) -> None:
    compare(tmp_path, records, "input-224-article", 2.5)
    busy = records.record(warnings=(Caution(code="busy-machine", message="Stop what else runs."),))
    write_record(tmp_path / "input-224-article", busy)
    assert judge(tmp_path, "input/224-article").why == "busy-machine in 1 of 13 runs; no noise floor"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["peers", "--backbone", "vgg16"], "settings of their own"),
        (["peers", "quick"], "settings of their own"),
        (["peers", "--time-limit", "5"], "Received: --time-limit"),
        (["quick", "--only", "input"], "belong to peers"),
        (["peers", "--only", "speed"], "Groups: input, cache"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_of_peers_that_cannot_be_used_says_so(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["run", *arguments])
    assert isinstance(done.exception, ConfigurationError)
    assert message in str(done.exception)


def test_a_folder_that_is_in_use_is_not_written_to_without_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: object())
    done = CliRunner().invoke(app, ["run", "peers", "--results", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert "--resume" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_our_own_commands_are_called_and_timed_and_a_failure_says_what_they_said() -> None:
    seconds, peak = run_command(["tpuens-bench", "list"])
    assert 0.02 < seconds < 30
    assert peak > 10**7
    with pytest.raises(RunError, match="Did you mean 'quick'"):
        run_command(["tpuens-bench", "run", "quik"])


def test_many_records_are_made_of_few_as_repeats_on_machine_after_machine(records: Any) -> None:
    made = list(multiply_records([records.record(), records.record()], 15))
    assert len({one.id for one in made}) == 15
    assert [one.repeat for one in made[::2]] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert len({one.environment.fingerprint for one in made if one.environment}) == 2


def test_numbers_have_their_units() -> None:
    result = Result(
        group="commands",
        name="n",
        title="t",
        unit="s",
        target="",
        limit=1.0,
        at_most=True,
        value=0.25,
        verdict="held",
    )
    assert result_text(result) == "0.250 s"
    share = msgspec.structs.replace(result, unit="of 1", low=0.2, high=0.3)
    assert result_text(share) == "0.250 (0.200 to 0.300)"
