"""Ports programs of dm-haiku and of Sonnet 2 to purestate; `python -m purestate.port --help`."""

from purestate._port.command import main
from purestate._port.entry import port_source
from purestate._port.findings import Finding, PortResult

__all__ = ["Finding", "PortResult", "main", "port_source"]

if __name__ == "__main__":
    raise SystemExit(main())
