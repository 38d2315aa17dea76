import pytest

from bench.scenarios.table import SCENARIOS
from bench.suites import SUITES
from tpuens.data.datasets import DATASETS
from tpuens.errors import ConfigurationError
from tpuens.hardware.strategies import STRATEGIES
from tpuens.models.backbones import BACKBONES
from tpuens.registry import Row, Table


def test_an_unknown_name_says_the_nearest_and_all_that_would_do() -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean 'resnet152v2'\?.*vgg16.*'resnet152v3'"):
        BACKBONES["resnet152v3"]


def test_a_name_may_stand_only_once() -> None:
    row = Row(name="a", factory="b:c", summary="")
    with pytest.raises(ValueError, match="twice"):
        Table("thing", (row, row))


def test_a_new_row_has_its_listing_lookup_and_factory_for_nothing() -> None:
    table = Table("thing", (Row(name="root", factory="math:sqrt", summary="the square root"),))
    assert list(table) == ["root"]
    assert table["root"].load()(9) == 3


@pytest.mark.parametrize("table", [STRATEGIES, DATASETS, BACKBONES, SCENARIOS], ids=lambda t: t.kind)
def test_every_row_names_a_module_and_a_function(table: Table[Row]) -> None:
    for row in table.values():
        module, colon, function = row.factory.partition(":")
        assert module
        assert colon
        assert function.isidentifier()
        assert row.summary


def test_suites_name_only_scenarios_backbones_and_data_sets_that_there_are() -> None:
    for suite in SUITES.values():
        for scenario in suite.scenarios:
            assert scenario.name in SCENARIOS
            assert scenario.backbone is None or scenario.backbone in BACKBONES
            assert scenario.dataset is None or scenario.dataset in DATASETS
