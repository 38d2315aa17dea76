"""The preflight without TensorFlow and jax: texts, the search for a batch, children."""

import importlib.metadata
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bench.analysis.economics import Prices
from bench.execution.limits import Limits
from bench.preflight.advice import describe_batch, describe_findings
from bench.preflight.cache import Cache
from bench.preflight.child import CrowdedError, Room, StoppedError, ask_child
from bench.preflight.fitting import MOST_COMPILES, bracket, expect, find_largest, is_known
from bench.preflight.jobs import Job
from bench.preflight.lines import make_lines
from bench.preflight.messages import Compiled, CompileOrder, Export, Memory, Step
from bench.preflight.refusals import read_refusal
from bench.preflight.report import make_sentences, make_tables
from bench.preflight.results import Attempt, read_results
from bench.preflight.stablehlo import add_all_reduce, read_findings, rewrite_copies, strip_locations
from bench.preflight.suite import Preflight
from bench.preflight.targets import TARGETS, check_replicas, find_targets
from tpuens.errors import ConfigurationError, InterruptedRunError

GIB = 2**30
LIMITS = Limits(seconds=20, memory_bytes=4 * GIB)
PRICES = Prices({"TPU v3": 2.0}, [])


def memory(peak: float, arguments: float = 1.0) -> Memory:
    return Memory(
        peak=int(peak * GIB),
        arguments=int(arguments * GIB),
        outputs=0,
        aliased=0,
        temporaries=0,
        code=0,
    )


def test_copies_of_updated_variables_become_identity_reshapes() -> None:
    text = "    %12 = mhlo.copy %11 : tensor<3x3xf32>\n    return %12"
    assert "%12 = stablehlo.reshape %11 : (tensor<3x3xf32>) -> tensor<3x3xf32>" in rewrite_copies(text)
    text = '%1 = "mhlo.copy"(%0) : (tensor<f32>) -> tensor<f32>'
    assert rewrite_copies(text) == "%1 = stablehlo.reshape %0 : (tensor<f32>) -> tensor<f32>"


def test_where_an_operation_comes_from_is_left_out() -> None:
    text = (
        '#loc1 = loc("x")\nmodule @a_17 attributes {} {\n'
        "  %0 = stablehlo.add %a, %b : tensor<f32> loc(#loc1)\n"
        '  reducer(%c: tensor<f32> loc(fused[#loc1, #loc2]), %d: tensor<f32> loc("y.1"))\n} loc(#loc)\n'
    )
    assert strip_locations(text) == (
        "module @step attributes {} {\n  %0 = stablehlo.add %a, %b : tensor<f32>\n"
        "  reducer(%c: tensor<f32>, %d: tensor<f32>)\n}\n"
    )


def test_a_barrier_over_gradients_becomes_a_sum_over_replicas() -> None:
    text = "%5:2 = stablehlo.optimization_barrier %3, %4 : tensor<2xf32>, tensor<f32>"
    summed, count = add_all_reduce(text, 4)
    assert count == 2
    assert '%5:2 = "stablehlo.all_reduce"(%3, %4)' in summed
    assert "dense<[[0, 1, 2, 3]]> : tensor<1x4xi64>" in summed
    assert summed.endswith("(tensor<2xf32>, tensor<f32>) -> (tensor<2xf32>, tensor<f32>)")


def test_what_needs_no_compiler_is_found_in_the_text_with_what_to_do() -> None:
    text = (
        "%0 = tensor<?x3xf32> tensor<2xf64> tensor<f64>\n%1 = chlo.erf {mhlo.attribute}\n"
        "%2 = stablehlo.custom_call @lapack"
    )
    findings = read_findings(text)
    assert findings.dynamic == ("tensor<?x3xf32>",)
    assert findings.float64 == 2
    assert findings.foreign == ("chlo.erf", "lapack")
    assert len(describe_findings(findings)) == 3
    assert not describe_findings(read_findings("%0 = stablehlo.add : tensor<2x3xf32>"))


def test_a_batch_that_wastes_the_matrix_unit_is_named() -> None:
    assert "padded to 16" in describe_batch(12)[0]
    assert "not of 128" in describe_batch(64)[0]
    assert not describe_batch(256)


def test_the_largest_batch_is_found_in_few_compiles() -> None:
    for an_example in (0.013, 0.05, 0.4, 1.7):

        def compile_at(batch: int, an_example: float = an_example) -> Compiled:
            needed = 1 + an_example * batch + 0.03 * (batch % 5)
            if needed > 15.48:
                return Compiled(status="too large", needed_bytes=int(needed * GIB))
            return Compiled(status="ok", memory=memory(needed))

        said = find_largest(compile_at, {8: compile_at(8)}, TARGETS["v3"].memory_bytes)
        fits, too_large = bracket(said)
        truth = (15.48 - 1) / an_example
        assert len(said) <= MOST_COMPILES
        assert too_large is not None
        assert fits <= truth * 1.02
        assert fits >= truth * 0.8 - 1


def test_a_search_that_was_cut_off_goes_on_in_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_at(batch: int) -> Compiled:  # a refusal that tells no bytes, so that every guess is far off
        return Compiled(status="ok" if batch <= 15000 else "too large")

    monkeypatch.setattr("bench.preflight.fitting.MOST_COMPILES", 5)

    said = {1: compile_at(1), 65000: compile_at(65000)}
    first = find_largest(compile_at, said, TARGETS["v3"].memory_bytes)
    assert not is_known(first)
    assert len(first) == len(said) - 1 + 5
    second = find_largest(compile_at, first, TARGETS["v3"].memory_bytes)
    assert is_known(second)
    assert list(second)[: len(first)] == list(first)


def test_the_search_comes_from_above_since_a_refusal_takes_seconds_and_a_fit_minutes() -> None:
    def compile_at(batch: int) -> Compiled:
        needed = 0.7 + 0.24 * batch
        if needed > 15.48:
            return Compiled(status="too large", needed_bytes=int(needed * GIB))
        return Compiled(status="ok", memory=memory(needed, arguments=0.7))

    said = find_largest(compile_at, {8: compile_at(8)}, TARGETS["v3"].memory_bytes)
    assert bracket(said) == (56, 64)
    assert [one.status for one in said.values()].count("ok") == 2  # the first and the largest


@pytest.mark.parametrize("beyond", [1.0, 1.5, 2.6])
def test_a_compiler_that_computes_again_what_it_cannot_keep_is_followed_to_its_limit(beyond: float) -> None:
    most = int(beyond * (15.48 - 0.5) / 0.37)

    def compile_at(batch: int) -> Compiled:
        needed = 0.5 + 0.37 * batch
        if batch > most:
            return Compiled(status="too large", needed_bytes=int(needed * GIB))
        # Near the limit its memory hardly grows, as InceptionResNetV2's: 14.03 GiB at 64, 14.02 at 112.
        return Compiled(status="ok", memory=memory(min(needed, 14.0)))

    said = find_largest(compile_at, {8: compile_at(8)}, TARGETS["v3"].memory_bytes)
    assert is_known(said)
    assert [one.status for one in said.values()].count("ok") <= 4


@pytest.mark.parametrize(("truth", "compiles"), [(155, 3), (150, 3), (330, 10), (60, 7)])
def test_another_devices_largest_batch_is_where_the_search_begins(truth: int, compiles: int) -> None:
    theirs = {
        8: Compiled(status="ok", memory=memory(5, arguments=0.5)),
        72: Compiled(status="ok", memory=memory(14, arguments=0.5)),
        80: Compiled(status="too large", needed_bytes=16 * GIB),
    }
    unknown = {8: Compiled(status="ok", memory=memory(4, arguments=0.5))}
    likely = expect(int(31.25 * GIB), [(theirs, int(15.48 * GIB)), (unknown, int(31 * GIB))])
    assert likely == 152  # 76 x (31.25 - 0.5) / (15.48 - 0.5) = 156.0

    def compile_at(batch: int) -> Compiled:
        if batch > truth:
            return Compiled(status="too large", needed_bytes=int((31.4 + 0.2 * (batch - truth)) * GIB))
        return Compiled(status="ok", memory=memory(min(0.5 + 0.5 * batch, 29), arguments=0.5))

    said = find_largest(compile_at, {8: compile_at(8)}, int(31.25 * GIB), likely)
    fits, too_large = bracket(said)
    assert is_known(said)
    assert fits <= truth < too_large
    assert len(said) <= compiles


def test_what_no_other_device_knows_is_not_expected() -> None:
    none_fits = {1: Compiled(status="too large", needed_bytes=16 * GIB)}
    assert expect(16 * GIB, []) is None
    assert expect(16 * GIB, [(none_fits, 8 * GIB)]) is None


def test_a_network_that_does_not_fit_at_all_ends_with_one_example() -> None:
    too_large = Compiled(status="too large", needed_bytes=40 * GIB)
    said = find_largest(lambda batch: too_large, {8: too_large}, 15 * GIB)
    assert bracket(said) == (0, 1)


def test_a_refusal_ends_the_search() -> None:
    refused = Compiled(status="refused")
    assert find_largest(lambda batch: refused, {8: refused}, 15 * GIB) == {8: refused}


def test_a_program_that_is_too_large_says_by_how_much() -> None:
    refusal = read_refusal(
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used "
        "20.50G of 15.48G hbm. Exceeded hbm capacity by 5.02G."
    )
    assert refusal.status == "too large"
    assert refusal.needed_bytes == int(20.5 * GIB)
    assert refusal.allowed_bytes == int(15.48 * GIB)
    refusal = read_refusal(
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
        "(476.84G) exceeds available HBM (7.48G)."
    )
    assert refusal.needed_bytes == int(476.84 * GIB)
    assert refusal.allowed_bytes == int(7.48 * GIB)
    assert read_refusal("INVALID_ARGUMENT: no").status == "refused"


def test_an_unknown_target_and_too_many_replicas_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean 'v5p'.*Received: target='v5'"):
        find_targets("v3,v5")
    with pytest.raises(ConfigurationError, match="has 4 devices"):
        check_replicas(find_targets("v5e"), 8)


def test_every_target_is_in_the_catalogue() -> None:
    for target in TARGETS.values():
        assert target.facts.kind == {"tpu": "tpu", "cuda": "gpu"}[target.platform]
        assert target.facts.peak_flops_per_second("bfloat16")


def write_child(folder: Path, body: str) -> Path:
    (folder / "some_child.py").write_text(body)
    place = folder / "place"
    place.mkdir()
    return place


def ask(folder: Path, body: str, seconds: float = 20, room: int = 4 * GIB, stop: bool = False) -> Compiled:
    place = write_child(folder, body)
    order = CompileOrder(text="t", topology="v3:2x2")
    return ask_child(
        "some_child",
        order,
        Compiled,
        place,
        seconds=seconds,
        room=Room(room),
        variables=dict(os.environ),
        should_stop=lambda: stop,
        root=folder,
    )


def test_a_child_answers_through_a_file(tmp_path: Path) -> None:
    body = (
        "import sys, pathlib\n"
        "def main():\n"
        "    assert b'v3:2x2' in sys.stdin.buffer.read()\n"
        "    print('noise')\n"
        "    (pathlib.Path(sys.argv[2]) / 'answer.json').write_text('{\"status\": \"ok\"}')\n"
    )
    assert ask(tmp_path, body).status == "ok"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("def main(): raise ValueError('broken')", "ended with code 1: .*broken"),
        ("import os\ndef main(): os.kill(os.getpid(), 9)", "killed"),
    ],
)
def test_a_child_without_an_answer_says_why(tmp_path: Path, body: str, why: str) -> None:
    with pytest.raises(StoppedError, match=why):
        ask(tmp_path, body)


def test_a_child_that_takes_too_long_too_much_or_is_not_wanted_is_stopped(tmp_path: Path) -> None:
    body = "import time\ndef main(): time.sleep(60)"
    for name, seconds, room, stop, why in (
        ("a", 0, GIB, False, "longer than 0 s"),
        ("b", 20, 1, False, "more than the limit"),
        ("c", 20, GIB, True, "by the user"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        with pytest.raises(StoppedError, match=why):
            ask(folder, body, seconds, room, stop)


def test_of_children_that_hold_too_much_together_the_youngest_ends() -> None:
    room = Room(10 * GIB)
    room.note(1, 6 * GIB)
    room.note(2, 3 * GIB)
    room.note(1, 8 * GIB)  # too much with the other, which is the younger
    with pytest.raises(CrowdedError, match=r"11\.0 GiB, more than the limit of 10\.0 GiB"):
        room.note(2, 3 * GIB)
    room.forget(2)
    room.note(1, 9 * GIB)
    with pytest.raises(StoppedError, match="Raise --memory-limit"):
        room.note(1, 11 * GIB)


class Faked(Preflight):
    """A preflight whose children are functions."""

    asked: list[str]

    def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
        self.asked.append(name)
        if name == "export":
            (Path(place) / "graph.mlir").write_text(f"graph of {order.batch_size}")
            return Export(graph=f"hash{order.batch_size}", gradient_bytes=10, parameters=5)
        if order.topology == "v2:2x2":
            raise StoppedError("It was killed.")
        needed = 1.0 + int(Path(order.text).read_text().split()[-1])
        if needed > 15.48:
            return Compiled(status="too large", needed_bytes=int(needed * GIB), message="RESOURCE_EXHAUSTED")
        versions = dict.fromkeys(TARGETS["v3"].compiler.packages, "1")
        return Compiled(status="ok", memory=memory(needed), flops=1e9, bytes_accessed=1e9, versions=versions)


def make_preflight(folder: Path) -> Faked:
    check = Faked(cache=Cache(folder / "cache", lambda name: "1"), limits=LIMITS)
    check.asked = []
    return check


def test_a_killed_compile_leaves_the_rest_of_the_suite_intact_and_a_second_call_compiles_nothing(
    tmp_path: Path,
) -> None:
    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    jobs = [Job(step=step, target=TARGETS[name]) for name in ("v2", "v3")]
    first = make_preflight(tmp_path)
    found = {one.target: one for one in first.run(jobs, tmp_path / "results", workers=2)}
    assert found["v2"].status == "failed"
    assert found["v2"].reason == "It was killed."
    assert found["v3"].status == "ok"
    assert {one.target for one in read_results(tmp_path / "results")} == {"v2", "v3"}
    (line,) = make_lines([found["v3"]], PRICES)
    assert line.largest == "14 (not 15)"
    again = make_preflight(tmp_path)
    again.run(jobs, tmp_path / "results", workers=1)
    assert again.asked == ["compile"]  # the one that was killed


def test_what_results_of_another_machine_tell_is_not_compiled_again(tmp_path: Path) -> None:
    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    jobs = [Job(step=step, target=TARGETS["v3"])]
    (first,) = make_preflight(tmp_path).run(jobs, tmp_path / "results", workers=1)
    elsewhere = tmp_path / "elsewhere"
    again = make_preflight(elsewhere)
    (second,) = again.run(jobs, tmp_path / "results", workers=1)
    assert "compile" not in again.asked
    assert second.attempts == first.attempts
    other_version = Faked(cache=Cache(elsewhere / "other", lambda name: "2"), limits=LIMITS)
    other_version.asked = []
    other_version.run(jobs, tmp_path / "results", workers=1)
    assert "compile" in other_version.asked


def test_a_search_goes_on_from_what_an_earlier_one_found(tmp_path: Path) -> None:
    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    jobs = [Job(step=step, target=TARGETS["v3"])]
    (first,) = make_preflight(tmp_path).run(jobs, tmp_path / "results", workers=1)
    asked = {one.batch_size for one in first.attempts}
    (path,) = (tmp_path / "results").iterdir()
    # Another way of searching had left a batch that this one would not have tried.
    other = Attempt(batch_size=13, graph="hash13", compiled=Compiled(status="ok", memory=memory(14)))
    last = Attempt(
        batch_size=15, graph="hash15", compiled=Compiled(status="too large", needed_bytes=16 * GIB)
    )
    assert 13 not in asked
    path.write_bytes(
        msgspec.json.encode(msgspec.structs.replace(first, attempts=(first.attempts[0], other, last)))
    )
    (second,) = make_preflight(tmp_path).run(jobs, tmp_path / "results", workers=1)
    assert [one.batch_size for one in second.attempts] == [4, 13, 15, 14]
    assert read_results(tmp_path / "results") == [second]


def test_a_look_without_a_compiler_passes_over_results_of_one(tmp_path: Path) -> None:
    def find_version(name: str) -> str:
        if name in TARGETS["v3"].compiler.packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    make_preflight(tmp_path).run([Job(step=step, target=TARGETS["v3"])], tmp_path, workers=1)
    check = Faked(cache=Cache(tmp_path / "cache", find_version), limits=LIMITS)
    check.asked = []
    (found,) = check.run([Job(step=step, target=None)], tmp_path, workers=1)
    assert found.status == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_children_and_saves_nothing_half_done(tmp_path: Path, number: int) -> None:
    class Signalled(Faked):
        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if not self._request.requested:
                os.kill(os.getpid(), number)
            while not self._request.requested:
                time.sleep(0.01)
            raise StoppedError("It was stopped by the user.")

    check = Signalled(cache=Cache(tmp_path / "cache", lambda name: "1"), limits=LIMITS)
    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    jobs = [Job(step=step, target=TARGETS[name]) for name in ("v2", "v3")]
    with pytest.raises(InterruptedRunError, match="Stopped after 0 of 2"):
        check.run(jobs, tmp_path, workers=1)
    assert not read_results(tmp_path)


def test_a_search_that_is_stopped_keeps_the_compiles_before_it_and_says_why(tmp_path: Path) -> None:
    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    jobs = [Job(step=step, target=TARGETS["v3"])]
    on_file = []

    class Killed(Faked):
        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            on_file.append([len(one.attempts) for one in read_results(tmp_path / "results")])
            if name == "compile" and "graph of 14" in Path(order.text).read_text():
                raise StoppedError("It was killed.")
            return super()._ask(name, order, answer, place, variables)

    check = Killed(cache=Cache(tmp_path / "cache", lambda name: "1"), limits=LIMITS)
    check.asked = []
    (found,) = check.run(jobs, tmp_path / "results", workers=1)
    *before, last = [one.compiled.status for one in found.attempts]
    assert set(before) == {"ok", "too large"}
    assert last == "stopped"
    # Tracing and compiling, each time with all that was known before on file.
    assert on_file == [[], [], *([count] for count in range(1, len(before) + 1) for _ in range(2))]
    assert found.status == "ok"
    assert "largest batch ended at 14: It was killed." in make_sentences(make_lines([found], PRICES))[0]
    assert make_preflight(tmp_path).run(jobs, tmp_path / "results", workers=1)[0].attempts[1:]


def test_an_interrupted_suite_leaves_a_report_of_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cli import app
    from bench.preflight import jobs, suite
    from tpuens.cli import run_app

    class Signalled(Faked):
        asked: list[str] = []  # noqa: RUF012

        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if name == "compile" and order.topology == TARGETS["v5e"].topology:
                os.kill(os.getpid(), signal.SIGINT)
                while not self._request.requested:
                    time.sleep(0.01)
                raise StoppedError("It was stopped by the user.")
            return super()._ask(name, order, answer, place, variables)

    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "_installed", lambda name: True)
    monkeypatch.setattr(suite, "Preflight", Signalled)
    for name in ("load_compiled", "save_compiled"):  # which ask for the version of a compiler
        monkeypatch.setattr(suite.Cache, name, lambda *args: None)
    command = "tpuens-bench preflight --target v3,v5e --jobs 1 --no-largest --results"
    monkeypatch.setattr(sys, "argv", [*command.split(), str(tmp_path / "results")])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 130
    page = (tmp_path / "results" / "modelled.md").read_text()
    assert "| v3 |" in page
    assert "| v5e |" not in page


def test_a_static_look_compiles_nothing(tmp_path: Path) -> None:
    check = make_preflight(tmp_path)
    step = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    (found,) = check.run([Job(step=step, target=None)], tmp_path, workers=1)
    assert check.asked == ["export"]
    assert "padded to 8" in found.advice[0]
    make_tables(make_lines([found], PRICES), [])


def test_the_order_of_an_export_is_its_key_in_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path, lambda name: "1")
    order = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
    export = Export(graph="abc", gradient_bytes=1, parameters=1)
    cache.save_export(order, export, "text")
    assert cache.load_export(order) == export
    assert cache.read_text("abc") == "text"
    assert cache.load_export(msgspec.structs.replace(order, batch_size=5)) is None
    assert Cache(tmp_path, lambda name: "2").load_export(order) is None


def test_a_missing_extra_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli import app
    from bench.preflight import jobs
    from tpuens.cli import run_app

    monkeypatch.setattr(jobs, "_installed", lambda name: False)
    for target, extra in (("v3", "preflight"), ("h100", "preflight-gpu")):
        monkeypatch.setattr(sys, "argv", ["tpuens-bench", "preflight", "--target", target])
        with pytest.raises(SystemExit) as ended:
            run_app(app)
        assert ended.value.code == 2
        assert f"tpuens[{extra}]" in capsys.readouterr().err
