"""Which machine for a training of one's own, from records whose numbers can be worked out by hand."""

import json

import pytest

from bench.analysis.choice import Plan, find_accuracies, find_peers, rank_choices
from bench.analysis.economics import Prices
from bench.cli import app
from bench.records.record import Accelerator, Metric
from bench.records.store import RecordError, write_record
from bench.reporting.choice import choice_sentences, choice_tables
from tpuens.errors import ConfigurationError

GPU = "NVIDIA H100 80GB HBM3"
PHASES = {"import": 6.0, "first_step": 4.0, "steady": 500.0}


class Machines:
    """Makes runs on a laptop and on a server with four GPUs."""

    def __init__(self, records):
        self.records = records

    def run(self, rate, *, on="laptop", scenario="train-epoch", name="both", replicas=1, **fields):
        """Returns a run at so many examples a second."""
        gpus = (Accelerator(kind="gpu", model=GPU),) * (4 if on == "server" else 0)
        strategy = "cpu" if on == "laptop" else "gpu" if replicas == 1 else "gpu-mirrored"
        how = {"strategy": strategy, "num_replicas": replicas, **fields.pop("how", {})}
        one = self.records.series(name, steps=(1,), examples=(rate,), seconds=(1.0,))
        return self.records.record(
            scenario,
            environment=self.records.environment(on, accelerators=gpus, usable_cores=4.0),
            configuration=how,
            phases=PHASES,
            series=(one,),
            **fields,
        )

    def accuracy(self, value, **fields):
        """Returns a run that ended with this validation accuracy."""
        metric = Metric(name="top_1_accuracy", value=value, parameters={"epoch": 3, "split": "validation"})
        return self.records.record("time-to-accuracy", metrics=(metric,), **fields)


@pytest.fixture
def machines(records):
    return Machines(records)


def rank(*folders, floor=0.9, prices=(), **plan):
    labels = {record.environment.machine_label for folder in folders for record in folder}
    whole = Plan(**{"examples": 1000, "epochs": 10, "target_accuracy": floor, **plan})
    return rank_choices(folders, whole, Prices(dict(prices), labels))


def test_time_and_dollars_are_those_of_all_epochs_and_one_start_up(machines):
    (choice,), _ = rank([machines.run(100)], prices={"laptop": 3.6})
    assert choice.seconds == pytest.approx(110)  # 10,000 examples at 100/s, and 10 s before them
    assert choice.dollars == pytest.approx(0.11)
    assert choice.start_up_seconds == 10


def test_each_device_comes_once_with_its_fastest_configuration(machines):
    runs = [
        machines.run(100, how={"global_batch_size": 64}),
        machines.run(150, how={"global_batch_size": 256}),
        machines.run(900, on="server"),
        machines.run(3000, on="server", replicas=4),
    ]
    choices, _ = rank(runs)
    assert [(choice.device, choice.examples_per_second) for choice in choices] == [
        (f"4 × {GPU}", 3000),
        (f"1 × {GPU}", 900),
        ("CPU", 150),
    ]


@pytest.mark.parametrize(
    ("model", "replicas", "device", "dollars_per_hour"),
    [
        ("TPU v3", 8, "TPU v3, 8 cores (4 chips)", 8.0),
        ("TPU v3", 1, "TPU v3, 1 core (1 chip)", 2.0),
        ("TPU v4", 4, "TPU v4, 4 chips", 8.0),
        ("TPU v5e", 8, "TPU v5e, 8 chips", 16.0),
    ],
)
def test_a_tpu_is_named_and_paid_by_the_chip(machines, records, model, replicas, device, dollars_per_hour):
    tpus = (Accelerator(kind="tpu", model=model),) * replicas
    series = records.series("both", steps=(1,), examples=(100,), seconds=(1.0,))
    run = records.record(
        "train-epoch",
        environment=records.environment("pod", accelerators=tpus),
        configuration={"strategy": "tpu", "num_replicas": replicas},
        series=(series,),
    )
    (choice,), _ = rank([run], prices={model: 2.0})
    assert choice.device == device
    assert choice.tariff.dollars_per_hour == dollars_per_hour


def test_a_run_with_its_input_pipeline_goes_before_a_faster_one_without(machines):
    runs = [machines.run(100), machines.run(500, scenario="train-step", name="compute")]
    (choice,), _ = rank(runs)
    assert (choice.examples_per_second, choice.reading) == (100, "train-epoch: both")
    (alone,), _ = rank(runs[1:])
    assert (alone.examples_per_second, alone.reading) == (500, "train-step: compute")


def test_other_backbones_and_failed_runs_stay_out(machines):
    other = machines.run(900, workload={"backbone": "vgg16"})
    failed = machines.run(900, on="server", status="failed", reason="Out of memory.")
    choices, _ = rank([machines.run(100), other, failed], backbone="cifar_cnn")
    assert [choice.examples_per_second for choice in choices] == [100]


def test_what_users_would_run_instead_is_never_a_choice(machines):
    folder = [
        machines.run(100),
        machines.run(900, how={"loop": "timm"}),
        machines.run(800, how={"loop": "keras-fit"}),
        machines.run(700, how={"loader": "article"}),
        machines.run(600, on="server", how={"loader": "article"}),
        machines.run(500, workload={"backbone": "vgg16"}, how={"loader": "article"}),
        pipeline(machines, 300, "server"),
    ]
    (choice,), _ = rank(folder, backbone="cifar_cnn")
    assert choice.examples_per_second == 100
    assert find_peers([folder], "cifar_cnn") == {"timm loop": 1, "keras-fit loop": 1, "article loader": 2}
    assert find_peers([folder[:1]], None) == {}


def test_what_a_peer_takes_is_not_the_appetite_of_our_step(machines):
    runs = [
        machines.run(900, on="server"),
        machines.run(5000, on="server", scenario="train-step", name="compute", how={"loop": "keras-fit"}),
        pipeline(machines, 300, "server"),
    ]
    (choice,), _ = rank(runs)
    assert choice.input_need is None


def test_what_stays_below_the_accuracy_floor_is_left_out_and_named(machines):
    half = {"dtype_policy": "mixed_float16"}
    runs = [
        machines.run(100),
        machines.accuracy(0.95),
        machines.run(400, how=half),
        machines.accuracy(0.5, configuration=half),
    ]
    (choice,), below = rank(runs)
    assert choice.examples_per_second == 100
    assert choice.accuracy.value == 0.95
    assert below == []  # the device has a configuration that will do
    none, (left_out,) = rank(runs[2:])
    assert none == []
    assert "Below 90.0 % and left out: cifar_cnn@32 in mixed_float16 on laptop (CPU), 50.0 %." in (
        choice_sentences([], [left_out], [], Plan(examples=1, epochs=1, target_accuracy=0.9))
    )


def test_an_accuracy_that_is_not_known_is_said_and_never_assumed(machines):
    # The float32 of the same backbone says nothing of its half precision.
    runs = [machines.run(400, how={"dtype_policy": "mixed_float16"}), machines.accuracy(0.95)]
    (choice,), _ = rank(runs)
    assert choice.accuracy is None
    plan = Plan(examples=1, epochs=1, target_accuracy=0.9)
    (table,) = choice_tables([choice], plan)
    assert table.rows[0][table.headers.index("accuracy")] == "not known"
    assert any("was not assumed" in sentence for sentence in choice_sentences([choice], [], [], plan))


def test_known_accuracies_stand_before_faster_ones_that_are_not_known(machines):
    half = {"dtype_policy": "mixed_float16"}
    choices, _ = rank([machines.run(100), machines.accuracy(0.95), machines.run(900, on="server", how=half)])
    assert [choice.accuracy is None for choice in choices] == [False, True]


def test_the_accuracy_is_of_single_models_and_the_highest_of_unlike_trainings(records, machines):
    def scores(*members, ensemble):
        return tuple(
            Metric(name="top_1_accuracy", value=value, parameters={"seed": 0, "of": of, "member": number})
            for number, (of, value) in enumerate([*(("member", m) for m in members), ("ensemble", ensemble)])
        )

    short = records.record(
        "ensemble-accuracy", workload={"options": {"epochs": 1}}, metrics=scores(0.5, 0.6, 0.7, ensemble=0.99)
    )
    (accuracy,) = find_accuracies([short]).values()
    assert accuracy.value == 0.6
    (accuracy,) = find_accuracies([short, machines.accuracy(0.8), machines.accuracy(0.9)]).values()
    assert accuracy.value == pytest.approx(0.85)
    assert "time-to-accuracy" in accuracy.source


def test_hosts_of_the_same_hardware_are_pooled_and_their_spread_is_told(machines):
    (choice,), _ = rank([machines.run(90), machines.run(100)], [machines.run(105)], [machines.run(120)])
    assert choice.hosts == 3
    assert choice.examples_per_second == 105  # of the medians 95, 105 and 120
    assert choice.spread == pytest.approx(25 / 105)


def test_what_exceeds_the_budget_is_marked_and_stands_last(machines):
    runs = [machines.run(900, on="server"), machines.run(100)]
    dear, cheap = {"server": 360.0, "laptop": 0.36}, {"server": 0.36, "laptop": 0.36}
    choices, _ = rank(runs, prices=dear, budget=1.0)
    assert [(choice.machine, choice.over_budget) for choice in choices] == [
        ("laptop", False),
        ("server", True),
    ]
    choices, _ = rank(runs, prices=cheap, budget=1.0)
    assert [choice.machine for choice in choices] == ["server", "laptop"]


def test_without_a_price_nothing_is_said_of_the_budget(machines):
    (choice,), _ = rank([machines.run(100)], budget=1.0)
    assert (choice.dollars, choice.over_budget) == (None, None)


def pipeline(machines, rate, on):
    fields = {"workload": {"backbone": None, "phase": "input"}, "how": {"num_parallel_calls": 2}}
    return machines.run(rate, on=on, scenario="input-pipeline", name="input", **fields)


def test_the_host_cores_are_those_that_feed_the_step_alone(machines):
    runs = [
        machines.run(900, on="server"),
        machines.run(1000, on="server", scenario="train-step", name="compute"),
        pipeline(machines, 300, "server"),  # 150 a core
        pipeline(machines, 30, "laptop"),
    ]
    (choice,), _ = rank(runs)
    need = choice.input_need
    assert (need.appetite, need.per_core, need.cores, need.available) == (1000, 150, 7, 4)
    assert not need.elsewhere
    (table,) = choice_tables([choice], Plan(examples=1, epochs=1, target_accuracy=0.0))
    assert table.rows[0][table.headers.index("cores")] == "7 of 4"
    assert "too few host cores to feed it" in table.rows[0][-1]


def test_a_pipeline_that_only_another_machine_measured_is_said_to_be_its(machines):
    step = machines.run(1000, on="server", scenario="train-step", name="compute")
    (choice,), _ = rank([step, pipeline(machines, 200, "laptop")])
    assert choice.input_need.elsewhere
    assert choice.input_need.cores == 10
    (unknown,), _ = rank([step])
    assert unknown.input_need is None


@pytest.fixture
def folders(tmp_path, machines):
    """Returns two result folders, a broken file in one of them."""
    for name, runs in (
        ("mine", [machines.run(64), machines.accuracy(0.95)]),
        ("theirs", [machines.run(64, on="server")]),
    ):
        for run in runs:
            write_record(tmp_path / name, run)
    (tmp_path / "mine" / "records" / "broken.json").write_text("{}")
    return [str(tmp_path / "mine"), str(tmp_path / "theirs")]


def choose(*arguments, capsys):
    with pytest.raises(SystemExit) as end:
        app(["choose", "--examples", "640", "--epochs", "10", *arguments])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_command_prints_json(folders, capsys):
    told = json.loads(choose(*folders, "--json", "--budget", "20", "--price", "laptop=3.6", capsys=capsys))
    by_machine = {choice["machine"]: choice for choice in told["choices"]}
    assert by_machine["laptop"]["dollars"] == pytest.approx(0.11)
    assert by_machine["laptop"]["top_1_accuracy"] == 0.95
    assert "RunPod" in by_machine["server"]["price"]
    (refusal,) = told["not_counted"]
    assert refusal["file"].endswith("broken.json")


def test_the_command_prints_a_table_and_what_was_not_counted(folders, capsys):
    out = choose(*folders, capsys=capsys)
    assert "cifar_cnn@32: 640 examples × 10 epochs" in out
    assert "Not counted" in out
    markdown = choose(*folders, "--markdown", capsys=capsys)
    assert markdown.startswith("## cifar_cnn@32")
    assert "| laptop | CPU | cpu, batch 64, float32 |" in markdown


def test_the_command_names_the_peers_that_it_left_out(tmp_path, machines, capsys):
    write_record(tmp_path / "mine", machines.run(64, how={"loop": "keras-fit"}))
    arguments = ["choose", "--examples", "640", "--epochs", "10", str(tmp_path / "mine")]
    with pytest.raises(RecordError, match=r"No record tells.*1 run with keras-fit loop.*Received"):
        app(arguments)
    write_record(tmp_path / "mine", machines.run(32))
    sentence = "Left out: 1 run with keras-fit loop, which is not tpuens' own training."
    assert sentence in choose(str(tmp_path / "mine"), capsys=capsys)
    assert json.loads(choose(str(tmp_path / "mine"), "--json", capsys=capsys))["left_out"] == [sentence]


def test_a_misspelt_backbone_is_the_users_to_mend(folders):
    arguments = ["choose", "--examples", "640", "--epochs", "10", *folders, "--backbone"]
    with pytest.raises(ConfigurationError, match=r"Did you mean 'vgg16'.*Received: backbone='vgg61'") as end:
        app([*arguments, "vgg61"])
    assert end.value.exit_code == 2
    with pytest.raises(RecordError, match="No record tells how fast vgg16 trains"):
        app([*arguments, "vgg16"])


def test_what_is_no_number_is_no_floor_and_no_budget(folders):
    for option in ("--target-accuracy", "--budget"):
        with pytest.raises(ConfigurationError, match=r"Expected a number\. Received: \w+=nan"):
            app(["choose", "--examples", "640", "--epochs", "10", *folders, option, "nan"])


def test_without_a_floor_the_fastest_is_taken_whatever_is_known_of_it(machines):
    fast = machines.run(300)
    slow = machines.run(100, how={"dtype_policy": "mixed_bfloat16"})
    known = machines.accuracy(0.9, configuration={"dtype_policy": "mixed_bfloat16"})
    (choice,), below = rank([fast, slow, known], floor=0)
    assert (choice.examples_per_second, below) == (300, [])


def test_rows_that_did_not_do_the_same_work_are_told_apart(machines):
    laptop = machines.run(100)
    server = machines.run(300, on="server", workload={"dataset": "photographs", "augment": ("flip",)})
    plan = Plan(examples=1000, epochs=10, target_accuracy=0)
    choices, below = rank([laptop], [server], floor=0)
    (warning,) = [one for one in choice_sentences(choices, below, [], plan) if "same work" in one]
    assert "train-epoch: both photographs with flip on server" in warning
    assert "train-epoch: both digits on laptop" in warning
    choices, below = rank([laptop], [machines.run(300, on="server")], floor=0)
    assert not any("same work" in one for one in choice_sentences(choices, below, [], plan))
