"""What can be measured: one module a scenario, each giving a `Workload` to time."""
