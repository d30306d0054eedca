"""How a scan is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli.output import show

if TYPE_CHECKING:
    from mainspring.registry.scanning.model import ScanReport

_SHOWN_OPCODES = 8


def tell_scan(report: ScanReport, as_json: bool) -> None:
    """Print a report: each pickle with its opcodes and imports, then what was found, the worst first."""
    if as_json:
        show({"verdict": report.verdict, **msgspec.to_builtins(report)}, as_json=True)
        return
    found = f"{len(report.pickles)} pickles" if report.pickles else "no pickle"
    click.echo(f"{report.verdict}: {report.files} files, {report.size_bytes:,} bytes, {found}")
    for pickle in report.pickles:
        most = list(pickle.opcodes.items())
        more = f" and {len(most) - _SHOWN_OPCODES} others" if len(most) > _SHOWN_OPCODES else ""
        told = ", ".join(f"{name} {count}" for name, count in most[:_SHOWN_OPCODES])
        click.echo(f"{pickle.where}: {sum(pickle.opcodes.values())} opcodes: {told}{more}")
        for use in pickle.globals:
            click.echo(f"  {use.level:<9}  {'calls' if use.called else 'imports'} {use.name}")
    for finding in report.findings:
        let = " (allowed)" if finding.digest in report.allowed else ""
        click.echo(f"{finding.level}{let}: {finding.where} {finding.what}")
    if report.omitted:
        click.echo(f"and {report.omitted} more")
    for digest in dict.fromkeys(danger.digest for danger in report.dangers):
        click.echo(f"to register it all the same: mainspring model allow-file {digest} REASON")
