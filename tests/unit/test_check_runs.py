"""Another commit beside this tree: its source checked out, its own runs, and both sides read again."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.execution import check_run
from bench.execution.check_run import read_sides, run_against
from bench.execution.revisions import check_out, run_at
from bench.records.record import RunRecord, Turns
from bench.records.store import write_record
from bench.suites import Request, Scenario, Timing
from tpuens.errors import ConfigurationError, RunError

GOLDEN = Path(__file__).parents[1] / "golden" / "record-v1.json"
REQUEST = Request(
    suite="check",
    scenario=Scenario(name="train-step", image_size=8, timing=Timing(blocks=3)),
    strategy="cpu",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a repository with two commits, the first of which has the tag old."""
    root = tmp_path_factory.mktemp("clone")

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    for content in ("old", "new"):
        (root / "file").write_text(content)
        git("add", "file")
        git("commit", "--quiet", "-m", content)
    git("tag", "old", "HEAD~1")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Returns another commit's tree: its `run` hands out a record of schema 1, or says what it refuses."""
    package = tmp_path / "tree" / "tpuens"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copy(GOLDEN, package / "record.json")
    (package / "bench_command.py").write_text(
        "import pathlib, shutil, sys\n"
        "def main():\n"
        "    folder = pathlib.Path(sys.argv[sys.argv.index('--results') + 1])\n"
        "    if 'colour' in (folder / 'plan.json').read_text():\n"
        "        print('Error: Object contains unknown field `colour`', file=sys.stderr)\n"
        "        sys.exit(2)\n"
        "    (folder / 'records').mkdir()\n"
        "    shutil.copy(pathlib.Path(__file__).with_name('record.json'), folder / 'records')\n"
    )
    return package.parent


def test_a_revision_is_checked_out_and_removed_again(clone: Path) -> None:
    with check_out("old", clone) as found:
        assert (found / "file").read_text() == "old"
        assert (clone / "file").read_text() == "new"
    assert not found.exists()
    left = subprocess.run(["git", "-C", str(clone), "worktree", "list"], capture_output=True, text=True)
    assert len(left.stdout.splitlines()) == 1


def test_a_revision_is_removed_even_where_the_check_fails(clone: Path) -> None:
    with pytest.raises(RuntimeError), check_out("old", clone) as found:
        raise RuntimeError
    assert not found.exists()


@pytest.mark.parametrize("revision", ["nowhere", "--help", ""])
def test_an_unknown_revision_is_refused(revision: str, clone: Path) -> None:
    with pytest.raises(ConfigurationError, match="branch, tag or commit"), check_out(revision, clone):
        pass


def test_what_is_no_clone_has_no_other_commits(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="pip install -e"), check_out("HEAD", tmp_path):
        pass


def test_another_commit_runs_by_its_own_launcher_and_its_record_is_upgraded(
    tree: Path, tmp_path: Path
) -> None:
    record = run_at(tree, REQUEST, tmp_path / "run")
    assert record.schema_version == 2
    asked = msgspec.json.decode((tmp_path / "run" / "plan.json").read_bytes())
    (told,) = asked["requests"]
    # What is at its default is not told, so that the other commit need not know it.
    assert told["scenario"] == {"name": "train-step", "image_size": 8, "timing": {"blocks": 3}}


def test_a_setting_that_another_commit_does_not_know_is_named(tree: Path, tmp_path: Path) -> None:
    scenario = msgspec.structs.replace(REQUEST.scenario, colour="grey")
    with pytest.raises(ConfigurationError, match="unknown field `colour`"):
        run_at(tree, msgspec.structs.replace(REQUEST, scenario=scenario), tmp_path / "run")


@pytest.fixture
def runs(records, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns which side ran, in order, once runs are made; each takes no time."""
    order: list[str] = []

    def make(side: str, request: Request, **fields: Any) -> RunRecord:
        order.append(side)
        return records.record(request.scenario.name, series=(records.series(),), **fields)

    monkeypatch.setattr(
        check_run, "launch_run", lambda request, *, turns, **others: make("new", request, turns=turns)
    )
    monkeypatch.setattr(check_run, "run_at", lambda tree, request, folder: make("old", request))
    return order


def test_a_tree_without_turns_makes_whole_runs_a_b_b_a(tree: Path, runs: list[str], tmp_path: Path) -> None:
    notes: list[str] = []
    observer = check_run.CheckObserver(on_note=notes.append)
    run_against(tree, [REQUEST], tmp_path / "out", budget_seconds=1e6, observer=observer)
    assert runs == ["old", "new", "new", "old"] * 3  # equal runs: narrow as soon as there are 6 pairs
    assert "A B B A" in notes[0]
    new, old = read_sides(tmp_path / "out")
    assert len(new) == len(old) == 6
    assert {record.turns.manner for record in (*new, *old) if record.turns} == {"whole-runs"}


def test_accuracy_runs_once_on_each_side_and_agreement_on_the_new_one(
    tree: Path, runs: list[str], tmp_path: Path
) -> None:
    requests = [
        msgspec.structs.replace(REQUEST, scenario=Scenario(name=name))
        for name in ("ensemble-accuracy", "agreement")
    ]
    run_against(tree, requests, tmp_path / "out", budget_seconds=1)
    assert runs == ["old", "new", "new"]
    new, old = read_sides(tmp_path / "out")
    assert [record.workload.scenario for record in old] == ["ensemble-accuracy"]
    assert sorted(record.workload.scenario for record in new) == ["agreement", "ensemble-accuracy"]


def test_a_run_that_fails_ends_the_check(
    tree: Path, records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = records.record(status="failed", reason="Out of memory.")
    monkeypatch.setattr(check_run, "run_at", lambda *arguments: failed)
    with pytest.raises(RunError, match=r"baseline run failed: Out of memory"):
        run_against(tree, [REQUEST], tmp_path / "out", budget_seconds=1e6)


@pytest.mark.parametrize(
    ("log_tail", "error", "message"),
    [
        (["msgspec.ValidationError: unknown field `colour`"], ConfigurationError, "unknown field `colour`"),
        (["Segmentation fault"], RunError, "Arm A failed: It crashed."),
    ],
)
def test_a_tree_that_takes_turns_but_refuses_the_request_is_the_users_to_mend(
    log_tail: list[str],
    error: type[Exception],
    message: str,
    tree: Path,
    records,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tree / "bench" / "execution").mkdir(parents=True)
    (tree / "bench" / "execution" / "turns.py").write_text("")

    def fail(a: Request, b: Request, folder: Path, **others: Any) -> None:
        assert others["roots"] == (tree, None)
        turns = Turns(comparison="c", pair=0, arm="A")
        failed = records.record(status="failed", reason="It crashed.", log_tail=tuple(log_tail), turns=turns)
        write_record(folder, failed)
        (folder / "plan.json").write_text("{}")
        assert "advice" not in others  # none: `compare --resume` would run this tree on both sides
        raise RunError("Arm A failed: It crashed.")

    monkeypatch.setattr(check_run, "run_comparison", fail)
    with pytest.raises(error, match=message):
        run_against(tree, [REQUEST], tmp_path, budget_seconds=1e6)
    assert not list(tmp_path.glob("*/plan.json"))
