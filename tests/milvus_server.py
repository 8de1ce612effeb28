"""A server of Milvus of its own on loopback, from the folder that `make install` made."""

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

HOST = "127.0.0.1"
_FOLDER = Path(os.environ.get("MILVUS_SERVER") or Path(sys.prefix) / "milvus-server")
_SECONDS = 120
_PLACE = re.compile(r"\{\{\s*(\w+)(?:\(\w+\))?(?::\s*(.*?))?\s*\}\}")
# Shorter than a server of many needs: what was written is read, and loaded, with less waiting.
_QUICK = {
    "timeTickInterval: 200": "20",
    "checkInterval: 1000": "100",
    "distPullInterval: 500": "50",
}


class MilvusServer:
    """A server whose data lie in a folder; it can be killed and started again.

    Attributes:
        address: Where clients reach it.
    """

    def __init__(self, folder: Path) -> None:
        if not (_FOLDER / "bin" / "milvus").exists():
            pytest.skip("no server of Milvus here: make install brings one, on most systems")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        names = dict.fromkeys(name for name, _ in _PLACE.findall(self._template()))
        *ports, client, peer, health = _free_ports(sum(n.endswith("port") for n in names) + 3)
        self._ports = dict(zip([n for n in names if n.endswith("port")], ports, strict=True))
        self._health = health
        self.address = f"http://{HOST}:{self._ports['proxy_port']}"
        self._configure(client, peer)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        programs = str(_FOLDER / "bin")
        environment = os.environ | {
            "LD_LIBRARY_PATH": programs,
            "DYLD_LIBRARY_PATH": programs,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._health),
            "ETCD_CONFIG_PATH": str(self._folder / "etcd.yaml"),
        }
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [f"{programs}/milvus", "run", "standalone"],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + _SECONDS
        while not _answers(self.address):
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                log_end = (self._folder / "log.txt").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"Milvus did not start:\n{log_end}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End it at once, as a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _template(self) -> str:
        return (_FOLDER / "config.yaml.template").read_text()

    def _configure(self, client: int, peer: int) -> None:
        data, configs = self._folder / "data", self._folder / "configs"
        configs.mkdir(parents=True)
        folders = {
            "etcd_data_dir": str(data / "etcd"),
            "local_storage_dir": str(data),
            "rocksmq_data_dir": str(data / "rocksmq"),
            "system_log_path": "",
        }
        given: Mapping[str, object] = folders | self._ports
        text = _PLACE.sub(lambda place: str(given.get(place[1], place[2] or "")), self._template())
        for setting, value in _QUICK.items():
            text = text.replace(setting, f"{setting.split(':')[0]}: {value}")
        (configs / "milvus.yaml").write_text(re.sub(r"(?m)^  ip:.*$", f"  ip: {HOST}", text))
        (configs / "glog.conf").write_text((_FOLDER / "glog.conf").read_text())
        near, far = f"http://{HOST}:{client}", f"http://{HOST}:{peer}"
        (self._folder / "etcd.yaml").write_text(
            f"name: default\nlisten-client-urls: {near}\nadvertise-client-urls: {near}\n"
            f"listen-peer-urls: {far}\ninitial-advertise-peer-urls: {far}\n"
            f"initial-cluster: default={far}\n"
        )


@contextmanager
def milvus_server() -> Iterator[MilvusServer]:
    """A server that ends with the block."""
    with TemporaryDirectory(prefix="milvus-", ignore_cleanup_errors=True) as folder:
        server = MilvusServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _answers(address: str) -> bool:
    # pymilvus tells of each error, and there are some until then.
    pymilvus = logging.getLogger("pymilvus")
    level = pymilvus.level
    pymilvus.setLevel(logging.CRITICAL + 1)
    try:
        client = MilvusClient(address, timeout=1, dedicated=True)
        client.list_collections(timeout=5)
        client.close()
    except MilvusException:
        return False
    finally:
        pymilvus.setLevel(level)
    return True


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
