"""The command line of ``dacd``."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys

import click

from ..config import Config, load
from ..errors import DaccError
from ..names import check_host
from . import logs
from .service import Service


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dacc")
@click.option("--config", "path", help="The configuration file. [default: $DACC_CONFIG, else /etc/dacc/dacc.yaml]")
@click.option("--host", default="", help="Run as this host. [default: this machine's short name]")
@click.option("--socket", "socket_path", default="", help="Listen on this socket. [default: the setting `socket`]")
def main(path: str | None, host: str, socket_path: str) -> None:
    """The Data Accelerator's daemon: on storage nodes it serves bricks, on the controller it answers Slurm."""
    status = 0
    try:
        config = load({**os.environ, **({"DACC_SOCKET": socket_path} if socket_path else {})}, path)
        run(config, check_host(host or socket.gethostname().partition(".")[0]))
    except DaccError as error:
        status = error.exit_code
        for line in str(error).splitlines():
            click.echo(f"dacd: {line}", err=True)
    except Exception:
        status = 1
        logging.getLogger("dacc.daemon").exception("dacd ends by a defect of its own")
    # A step that did not end in time holds a worker thread, which a normal exit would wait for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(config: Config, host: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises what stops a daemon."""
    logs.set_up(config.log.format, config.log.level)
    service = Service(config, host)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()
