import pytest

from tpuens.errors import ConfigurationError
from tpuens.hardware.batches import BatchSize, resolve_batch_size


def test_the_global_batch_grows_with_the_replicas() -> None:
    assert resolve_batch_size(8, per_replica_batch_size=16) == BatchSize(per_replica=16, global_=128)


def test_a_global_batch_is_shared() -> None:
    assert resolve_batch_size(4, global_batch_size=64) == BatchSize(per_replica=16, global_=64)


def test_a_global_batch_that_cannot_be_shared_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigurationError, match=r"100 .* 8 replicas; 96 or 104 can"):
        resolve_batch_size(8, global_batch_size=100)


@pytest.mark.parametrize("sizes", [{}, {"per_replica_batch_size": 4, "global_batch_size": 8}])
def test_one_size_has_to_be_given_and_not_both(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="either"):
        resolve_batch_size(2, **sizes)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        resolve_batch_size(2, per_replica_batch_size=0)
