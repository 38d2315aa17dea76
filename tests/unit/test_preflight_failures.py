"""What goes wrong in a preflight takes nothing else with it, and nothing that was finished."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from bench.cli import app
from bench.execution.limits import Limits
from bench.preflight.cache import Cache
from bench.preflight.child import CrowdedError, StoppedError
from bench.preflight.fitting import bracket
from bench.preflight.jobs import Job
from bench.preflight.messages import TEXT, Compiled, Export, Memory, Step
from bench.preflight.refusals import read_refusal
from bench.preflight.results import Attempt, PreflightResult, read_results, save_result
from bench.preflight.suite import Preflight
from bench.preflight.targets import TARGETS
from tpuens.errors import ConfigurationError, RunError

STEP = Step(backbone="vgg16", image_size=32, batch_size=4, dtype_policy="float32")
JOBS = [Job(step=STEP, target=TARGETS[name]) for name in ("v2", "v3")]
MEMORY = Memory(peak=2**30, arguments=1, outputs=0, aliased=0, temporaries=0, code=0)
VERSIONS = dict.fromkeys(TARGETS["v3"].compiler.packages, "1")


class Faked(Preflight):
    """A preflight whose children are functions; of v2 the compile fails as `failure` says."""

    asked: list[str]
    failure: Exception = StoppedError("It was killed.")

    def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
        self.asked.append(name)
        if name == "export":
            (Path(place) / TEXT).write_text("graph")
            return Export(graph="hash", gradient_bytes=10, parameters=5)
        if order.topology == TARGETS["v2"].topology:
            raise self.failure
        return Compiled(status="ok", memory=MEMORY, flops=1e9, bytes_accessed=1e9, versions=VERSIONS)


def make(folder: Path, kind: type[Faked] = Faked) -> Faked:
    limits = Limits(seconds=20, memory_bytes=2**30)
    check = kind(cache=Cache(folder / "cache", lambda name: "1"), limits=limits, search=False)
    check.asked = []
    return check


def attempt(batch_size: int, status: str = "ok") -> Attempt:
    return Attempt(batch_size=batch_size, graph=f"g{batch_size}", compiled=Compiled(status=status))


def result(*attempts: Attempt, **changes: object) -> PreflightResult:
    plain = PreflightResult(
        created="2026-11-25T00:00:00Z",
        target="v3",
        backbone="vgg16",
        image_size=32,
        dtype_policy="float32",
        batch_size=8,
        status="ok",
        attempts=attempts,
        versions=VERSIONS,
    )
    return msgspec.structs.replace(plain, **changes)


def test_a_full_disk_in_one_job_leaves_the_others_and_names_no_path(tmp_path: Path) -> None:
    class Full(Faked):
        failure = OSError(errno.ENOSPC, "No space left on device", "/home/anna/graph.mlir")

    told = []
    results = make(tmp_path, Full).run(JOBS, tmp_path / "results", workers=1, on_result=told.append)
    assert [one.status for one in results] == ["failed", "ok"]
    assert told == results
    assert "No space left" in (results[0].reason or "")
    assert "anna" not in (results[0].reason or "")


def test_a_job_without_room_beside_others_comes_last_and_has_its_answer(tmp_path: Path) -> None:
    class Crowded(Faked):
        failure = CrowdedError("It and those beside it held 11 GiB.")

        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if self.asked.count("compile") == 2:  # both had their turn
                self.failure = StoppedError("It was killed.")
            return super()._ask(name, order, answer, place, variables)

    told = []
    check = make(tmp_path, Crowded)
    results = check.run(JOBS, tmp_path / "results", workers=1, on_result=told.append)
    assert [one.target for one in told] == ["v3", "v2"]
    assert results[1].reason == "It was killed."
    assert check.asked.count("compile") == 3
    assert check.asked.count("export") == 1


def test_what_one_device_holds_at_most_is_tried_first_on_the_next(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    class OfSixtyFour(Faked):
        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if name == "export":
                (Path(place) / TEXT).write_text(str(order.batch_size))
                return Export(graph=f"batch {order.batch_size}", gradient_bytes=10, parameters=5)
            batch = int(Path(order.text).read_text())
            asked.append((order.topology, batch))
            if batch > 64:
                return Compiled(status="too large", needed_bytes=(batch + 2) * 2**28, versions=VERSIONS)
            memory = msgspec.structs.replace(MEMORY, peak=(batch + 1) * 2**27, arguments=2**27)
            return Compiled(status="ok", memory=memory, versions=VERSIONS)

    jobs = [
        Job(step=msgspec.structs.replace(STEP, batch_size=8), target=TARGETS[name]) for name in ("v3", "v5e")
    ]
    check = make(tmp_path, OfSixtyFour)
    check.search = True
    results = check.run(jobs, tmp_path / "results", workers=1)
    assert [bracket(one.said) for one in results] == [(64, 72)] * 2
    second = [batch for topology, batch in asked if topology == TARGETS["v5e"].topology]
    assert second == [8, 64, 72]
    assert second != [batch for topology, batch in asked if topology == TARGETS["v3"].topology]


def test_what_was_asked_of_another_batch_counts_in_the_search(tmp_path: Path) -> None:
    """Unless the graph is another by now: nothing of its own is compiled again for that."""
    asked: list[int] = []

    class OfSixteen(Faked):
        of_code = "old"

        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if name == "export":
                (Path(place) / TEXT).write_text(str(order.batch_size))
                return Export(graph=f"{self.of_code}{order.batch_size}", gradient_bytes=1, parameters=5)
            asked.append(batch := int(Path(order.text).read_text()))
            return Compiled(status="ok" if batch <= 16 else "too large", memory=MEMORY, versions=VERSIONS)

    def look(batch: int, kind: type[Faked], *, search: bool) -> PreflightResult:
        check = make(tmp_path / kind.__name__, kind)
        check.search = search
        step = msgspec.structs.replace(STEP, batch_size=batch)
        job = Job(step=step, target=TARGETS["v3"])
        (found,) = check.run([job], tmp_path / "results", workers=1)
        return found

    for batch in (16, 24):
        look(batch, OfSixteen, search=False)
    assert sorted(look(4, OfSixteen, search=True).said) == [4, 16, 24]
    assert asked == [16, 24, 4]

    class OfNewCode(OfSixteen):
        of_code = "new"

    found = look(8, OfNewCode, search=True)
    assert not {"old16", "old24"} & {one.graph for one in found.attempts}
    assert bracket(found.said) == (16, 24)


def test_a_folder_that_cannot_be_written_stops_the_children(tmp_path: Path) -> None:
    class Slow(Faked):
        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if name == "compile" and order.topology == TARGETS["v2"].topology:
                while not self._request.requested:
                    time.sleep(0.01)
                raise StoppedError("It was stopped by the user.")
            return super()._ask(name, order, answer, place, variables)

    (tmp_path / "results").write_text("a file in the folder's place")
    start = time.monotonic()
    with pytest.raises(RunError, match="Cannot write"):
        make(tmp_path, Slow).run(JOBS, tmp_path / "results", workers=2)
    assert time.monotonic() - start < 10


def test_a_damaged_graph_in_the_cache_is_traced_again(tmp_path: Path) -> None:
    make(tmp_path).run(JOBS[1:], tmp_path / "results", workers=1)
    path = Cache(tmp_path / "cache", lambda name: "1").text_path("hash")
    path.write_bytes(path.read_bytes()[:12])
    again = make(tmp_path)
    (found,) = again.run(JOBS[1:], tmp_path / "results", workers=1)
    assert found.status == "ok"
    assert again.asked == ["export"]


def test_a_step_that_cannot_be_traced_is_tried_once_for_all_targets(tmp_path: Path) -> None:
    class Untraceable(Faked):
        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            self.asked.append(name)
            raise StoppedError("XLA cannot compile an operation of this step.")

    check = make(tmp_path, Untraceable)
    results = check.run(JOBS, tmp_path / "results", workers=2)
    assert [one.reason for one in results] == ["XLA cannot compile an operation of this step."] * 2
    assert check.asked == ["export"]


def test_an_answer_that_the_cache_has_no_room_for_is_in_the_result(tmp_path: Path) -> None:
    check = make(tmp_path)

    def refuse(*arguments: object) -> None:
        raise RunError("Cannot write v3.json: No space left on device.")

    check.cache.save_compiled = refuse  # type: ignore[method-assign]
    (found,) = check.run(JOBS[1:], tmp_path / "results", workers=1)
    assert found.status == "ok"


def test_a_result_loses_nothing_to_a_later_one_that_knows_less(tmp_path: Path) -> None:
    whole = result(attempt(8), attempt(64), attempt(72, "too large"))
    save_result(tmp_path, whole)
    save_result(tmp_path, result(attempt(8)))
    assert read_results(tmp_path) == [whole]
    save_result(tmp_path, result(attempt(8, "stopped"), status="failed", reason="It was killed."))
    assert read_results(tmp_path) == [whole]
    save_result(tmp_path, result(attempt(8), attempt(64, "stopped")))
    assert read_results(tmp_path) == [whole]
    other = result(attempt(8), versions={**VERSIONS, "libtpu": "2"})
    save_result(tmp_path, other)
    assert read_results(tmp_path) == [other]


def test_a_result_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    save_result(tmp_path, result(attempt(8), schema_version=2))
    with pytest.raises(ConfigurationError, match="schema_version is 2"):
        read_results(tmp_path)


def test_only_the_memory_of_the_device_makes_a_program_too_large() -> None:
    message = "RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem. Used 17.2M of 16.00M vmem."
    assert read_refusal(message).status == "refused"
    assert read_refusal("RESOURCE_EXHAUSTED: would exceed memory, space=hbm").status == "too large"


@pytest.mark.skipif(sys.platform != "linux", reason="a child's end with its parent is Linux's")
def test_a_child_ends_with_its_parent_even_where_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "some_child.py").write_text(
        "import os, pathlib, sys, time\n"
        "def main():\n"
        "    (pathlib.Path(sys.argv[2]) / 'pid').write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    code = (
        "import os, sys, pathlib\n"
        "from bench.preflight.child import Room, ask_child\n"
        "from bench.preflight.messages import Compiled, CompileOrder\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "order = CompileOrder(text='', topology='')\n"
        "ask_child('some_child', order, Compiled, root / 'place', seconds=60, room=Room(2**40),\n"
        "          variables=dict(os.environ), root=root)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    written = tmp_path / "place" / "pid"
    deadline = time.monotonic() + 30
    while not (written.exists() and written.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = psutil.Process(int(written.read_text()))
    parent.kill()
    parent.wait()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone


def test_a_suite_begins_with_what_compiles_soon() -> None:
    from bench.commands.preflight import _choose_steps

    steps = _choose_steps(["suite", "seeds"], None, None, 8, "mixed_bfloat16", 1)
    networks = [step.backbone for step in steps]
    assert len(networks) == 7
    assert networks[0] == "cifar_cnn"
    assert networks[-1] == "efficientnetb7"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suite", "input", "--static"], "this suite has none"),
        (["suite", "seeds", "--backbone", "vgg16", "--static"], "names its networks"),
        (["--backbone", "vgg61", "--static"], "Did you mean 'vgg16'"),
    ],
)
def test_a_call_that_means_nothing_is_refused_in_words(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        app(["preflight", *arguments], standalone_mode=False)


def test_a_batch_that_does_not_fit_ends_with_the_size_of_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.preflight import jobs, suite

    class Large(Faked):
        asked: list[str] = []  # noqa: RUF012

        def _ask(self, name, order, answer, place, variables):  # type: ignore[no-untyped-def]
            if name == "export":
                (Path(place) / TEXT).write_text(str(order.batch_size))
                return Export(graph=f"hash{order.batch_size}", gradient_bytes=10, parameters=5)
            batch = int(Path(order.text).read_text())
            if batch > 48:
                return Compiled(status="too large", needed_bytes=batch * 2**28, message="RESOURCE_EXHAUSTED")
            memory = msgspec.structs.replace(MEMORY, peak=batch * 2**28)
            return Compiled(status="ok", memory=memory, flops=1e9, bytes_accessed=1e9)

    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "_installed", lambda name: True)
    monkeypatch.setattr(suite, "Preflight", Large)
    for name in ("load_compiled", "save_compiled"):  # which ask for the version of a compiler
        monkeypatch.setattr(suite.Cache, name, lambda *args: None)
    command = ["preflight", "--target", "v3", "--batch-size", "512", "--results", str(tmp_path / "results")]
    with pytest.raises(
        RunError, match=r"512, takes 128\.00 of 15\.48 GiB.*the largest that fits: 48 \(not 56\)"
    ):
        app(command, standalone_mode=False)
    assert "48 (not 56)" in (tmp_path / "results" / "modelled.md").read_text()


def test_a_static_look_at_many_replicas_asks_no_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.preflight import suite

    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(suite, "Preflight", Faked)
    monkeypatch.setattr(Faked, "asked", [], raising=False)
    command = ["preflight", "--static", "--replicas", "64", "--results", str(tmp_path / "results")]
    with pytest.raises(SystemExit) as ended:
        app(command)
    assert ended.value.code == 0
    (found,) = read_results(tmp_path / "results")
    assert (found.target, found.replicas) == ("static", 64)
