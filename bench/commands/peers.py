"""`tpuens-bench run peers`: every claim against what users would run instead, measured and judged."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import typer

from tpuens.commands.options import resolve_data_dir
from tpuens.errors import ConfigurationError, InterruptedRunError

from .options import parse_budget

RESULTS = Path("results/runs/peers")


def run_peers(
    only: Sequence[str],
    *,
    budget: str | None,
    data_dir: str | None,
    results: Path | None,
    resume: bool,
    dry_run: bool,
) -> None:
    """Measures what the claims need and is not measured yet, and writes the table of them.

    Args:
        only: Patterns of groups and claims; all where there are none. The table has whatever is measured.
        budget: For each measurement, such as 3m; None: as long as each needs.
        data_dir: Where data sets lie.
        results: The folder; None for results/runs/peers.
        resume: Whether the folder may hold measurements, which are then not made again.
        dry_run: Whether to print the measurements only.

    Raises:
        ConfigurationError: A pattern matches nothing, packages are missing, or the folder is in use.
    """
    from ..execution.items import is_done, run_items
    from ..execution.peers_run import How, list_measurements, list_peers, make_items
    from ..peers.table import check_packages
    from ..peers.verdicts import choose_claims
    from ..progress import ComparisonProgress

    folder = results or RESULTS
    measurements = list_measurements(choose_claims(only))
    check_packages(list_peers(measurements))
    if folder.exists() and not (resume or dry_run):
        raise ConfigurationError(
            "Measurements may lie in this folder already: go on with them by --resume, or choose another "
            f"--results. Received: results={str(folder)!r}"
        )
    with ComparisonProgress() as progress:
        how = How(
            budget_seconds=parse_budget(budget) if budget else None,
            data_dir=resolve_data_dir(data_dir),
            observer=progress.observer,
        )
        items = make_items(measurements, how)
        if dry_run:
            for item in items:
                done = "done" if is_done(folder / item.name) else f"{item.seconds / 60:.1f} minutes at most"
                progress.observer.on_note(f"{item.name}: {done}")
            return
        try:
            run_items(items, folder, tell=progress.observer.on_note)
        except InterruptedRunError:
            raise InterruptedRunError(
                "Stopped; what was finished is kept, and is in the report. Go on with: "
                f"tpuens-bench run peers --resume --results {folder}"
            ) from None
        finally:
            report = write_report(folder)
    typer.echo(f"report: {report}")


def write_report(folder: Path) -> Path:
    """Writes the table of all claims, by what lies in the folder, and returns its path."""
    from ..peers.claims import CLAIMS
    from ..peers.verdicts import judge_claims
    from ..records.store import RECORDS_FOLDER, read_folder
    from ..reporting.peers_page import PeersReport, summarise_results, write_peers

    environments = [
        record.environment
        for path in sorted(folder.glob(f"*/{RECORDS_FOLDER}"))
        for record in read_folder(path)
        if record.environment is not None
    ]
    results = judge_claims(CLAIMS, folder)
    report = PeersReport(
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions={name: version for one in environments for name, version in one.versions.items()},
        results=tuple(results),
    )
    path = write_peers(folder, report)
    typer.echo(summarise_results(results))
    return path
