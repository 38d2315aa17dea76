"""Batch sizes: for one replica, and for all of them together."""

from dataclasses import dataclass

from ..errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """A batch as the strategy sees it: `global_` = `per_replica` × replicas, in examples."""

    per_replica: int
    global_: int


def resolve_batch_size(
    num_replicas: int, *, per_replica_batch_size: int | None = None, global_batch_size: int | None = None
) -> BatchSize:
    """Returns both batch sizes from either one.

    Give the size for one replica and the global batch grows with the replicas, as the recipes do; or give
    the global batch, which the replicas must share evenly.

    Raises:
        ConfigurationError: Both or neither are given, a size is below 1, or the replicas cannot share.
    """
    if (per_replica_batch_size is None) == (global_batch_size is None):
        raise ConfigurationError(
            "Give either the batch size of one replica or the global one. Received: "
            f"per_replica_batch_size={per_replica_batch_size}, global_batch_size={global_batch_size}"
        )
    size = per_replica_batch_size if global_batch_size is None else global_batch_size
    if size is None or size < 1:
        raise ConfigurationError(f"A batch holds at least one example. Received: {size}")
    if global_batch_size is None:
        return BatchSize(per_replica=size, global_=size * num_replicas)
    if size % num_replicas:
        lower = size // num_replicas * num_replicas
        near = [str(n) for n in (lower, lower + num_replicas) if n]
        raise ConfigurationError(
            f"A global batch of {size} cannot be shared evenly by {num_replicas} replicas; "
            f"{' or '.join(near)} can. Received: global_batch_size={size}"
        )
    return BatchSize(per_replica=size // num_replicas, global_=size)
