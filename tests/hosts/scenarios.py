"""What befalls a queue that several hosts share, and what has to come of it."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from chaos.stores import RedisStore
from redis_server import RedisServer

from hosts.network import Host, Network
from hosts.sentinels import NAME, SENTINEL_PORT, pair
from hosts.servers import AOF, PORT, Tape, serve, slowed
from hosts.tempest import Tempest
from hosts.trial import Report, Trial

__all__ = ["SCENARIOS", "run"]

OUTAGE = 4.0
"""Seconds; longer than a call waits and than a lease lasts."""
SLOW = 0.1
"""Seconds that each direction of the slow link takes."""
UNSYNCED = 1.0
"""Seconds between two times that a server syncs its file, where that is every second."""
GUARDED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
"""Let a server take nothing while no replica follows it."""
UNDONE = ("lost", "unexpected", "superseded", "contradiction", "misread", "misrevoked", "repeated")
COUNTS = ("attempts", "retries", "crashes", "at_most_once")
ROLLED_BACK = (*UNDONE, *COUNTS)
"""The rules that may find something where a server has lost what it had answered for."""


@contextmanager
def _trial(
    name: str,
    network: Network,
    server: RedisServer,
    *,
    hosts: Sequence[str] = ("left", "right"),
    url: str = "",
    lossy: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Trial]:
    with tempfile.TemporaryDirectory(prefix="lq-trial-") as name_of_folder:
        folder = Path(name_of_folder)
        store = RedisStore(server, folder, url or _url(network["store"]))
        with Trial(name, folder, store, [network[host] for host in hosts], environment, lossy) as trial:
            trial.start()
            yield trial
            trial.finish()


def _url(host: Host, port: int = PORT) -> str:
    return f"redis://{host.address}:{port}/0"


def partition(seconds: float = OUTAGE, stops: bool = True) -> Report:
    """The cable of one host is pulled; later it is put back.

    Args:
        seconds: how long that lasts.
        stops: whether a program there is asked to stop meanwhile.
    """
    with Network("store", "left", "right") as network, serve(network["store"], *AOF["always"]) as server:
        with _trial("partition of one host", network, server) as trial:
            with trial.outage("left"):
                network["left"].cut()
                trial.go_on(seconds)
                if stops:
                    trial.stop_one("left")
                network["left"].heal()
            reachable = time.monotonic()
            trial.replace("left")
            trial.recover(reachable)
        return trial.report


def alone(seconds: float = OUTAGE) -> Report:
    """The cable of the server is pulled, and nobody reaches it; later it is put back."""
    with Network("store", "left", "right") as network, serve(network["store"], *AOF["always"]) as server:
        with _trial("partition of the server", network, server) as trial:
            with trial.outage():
                network["store"].cut()
                trial.go_on(seconds)
                network["store"].heal()
            trial.recover(time.monotonic())
        return trial.report


def slow(seconds: float = OUTAGE) -> Report:
    """One host is far away from the server: each packet takes a tenth of a second."""
    with (
        Network("store", "left", "right") as network,
        serve(network["store"], *AOF["always"]) as server,
        slowed(network["store"], SLOW) as port,
    ):
        url = {"CHAOS_URL": _url(network["store"], port)}
        with _trial("slow link", network, server, environment=url) as trial:
            trial.go_on(seconds)
            trial.recover(time.monotonic())
        return trial.report


def _restarted(name: str, aof: str, down: float, end: Callable[[RedisServer], None]) -> Report:
    lossy = () if aof == "always" else ROLLED_BACK
    with Network("store", "left", "right") as network, serve(network["store"], *AOF[aof]) as server:
        with _trial(name, network, server, lossy=lossy) as trial:
            with trial.outage():
                end(server)
                trial.go_on(down)
                server.start()
            trial.recover(time.monotonic())
        return trial.report


def restart(aof: str = "always") -> Report:
    """The server is asked to stop, and started again at once."""
    return _restarted(f"restart, AOF {aof}", aof, 0.5, RedisServer.stop)


def killed(aof: str = "always") -> Report:
    """The server is killed, and started again at once."""
    return _restarted(f"server killed, AOF {aof}", aof, 0.5, RedisServer.kill)


def late(seconds: float = OUTAGE) -> Report:
    """The server is killed, and started again later."""
    return _restarted("server killed and started later, AOF always", "always", seconds, RedisServer.kill)


def power_cut() -> Report:
    """The power of the server is cut a second after its last fsync, the worst moment of AOF everysec."""
    with Network("store", "left", "right") as network, serve(network["store"], *AOF["everysec"]) as server:
        with (
            _trial("power cut, AOF everysec", network, server, lossy=ROLLED_BACK) as trial,
            closing(Tape(server)) as tape,
        ):
            trial.go_on(2 * UNSYNCED)
            with trial.outage():
                lost = tape.cut_power(UNSYNCED)
                trial.report.figures["bytes of the file lost"] = f"{lost:,}"
                trial.go_on(0.5)
                server.start()
            trial.recover(time.monotonic())
        return trial.report


def failover() -> Report:
    """The server is killed for good, and the Sentinels put its replica in its place."""
    with Network("store", "spare", "left", "right") as network:
        watchers = [network[name] for name in ("spare", "left", "right")]
        with pair(network["store"], network["spare"], watchers) as both:
            url = _sentinels(watchers)
            with _trial("failover", network, both.second, url=url, lossy=ROLLED_BACK) as trial:
                with trial.outage():
                    both.first.kill()
                    reachable = both.wait_until_promoted()
                trial.recover(reachable)
        return trial.report


def split(seconds: float = OUTAGE, *options: str) -> Report:
    """The server is cut off together with programs that reach it, while a replica takes its place."""
    with Network("store", "spare", "left", "right") as network:
        watchers = [network[name] for name in ("spare", "left", "right")]
        with (
            pair(network["store"], network["spare"], watchers, *options) as both,
            _trial(
                " ".join(["failover while the server goes on, cut off", *options]),
                network,
                both.second,
                hosts=("store", "left"),
                url=_sentinels(watchers),
                lossy=ROLLED_BACK,
            ) as trial,
        ):
            with trial.outage("left"):
                network["store"].cut()
                both.wait_until_promoted()
            trial.go_on(seconds)
            network["store"].heal()
            trial.recover(both.wait_until_demoted())
        return trial.report


def tempest(seconds: float = 40.0, seed: int | None = None) -> Report:
    """Programs are killed and suspended, cables pulled, and the server killed, all at random."""
    chosen = random.randrange(1_000_000) if seed is None else seed
    with Network("store", "left", "right") as network, serve(network["store"], *AOF["always"]) as server:
        with _trial(f"tempest (seed {chosen})", network, server) as trial:
            storm = Tempest(network, server, trial, chosen)
            storm.rage(seconds)
            reachable = time.monotonic()
            for name in trial.crews:
                trial.replace(name)
            trial.report.figures |= {what: str(count) for what, count in storm.counts.items()}
            trial.recover(reachable)
        return trial.report


def _sentinels(watchers: Sequence[Host]) -> str:
    hosts = ",".join(f"{host.address}:{SENTINEL_PORT}" for host in watchers)
    return f"redis+sentinel://{hosts}/{NAME}/0"


SCENARIOS: Mapping[str, Callable[[], Report]] = {
    "partition": partition,
    "alone": alone,
    "slow": slow,
    "restart": restart,
    "restart-everysec": lambda: restart("everysec"),
    "killed": killed,
    "killed-everysec": lambda: killed("everysec"),
    "killed-off": lambda: killed("off"),
    "power-cut": power_cut,
    "late": late,
    "tempest": tempest,
    "failover": failover,
    "split": split,
    "split-guarded": lambda: split(OUTAGE, *GUARDED),
}
"""Each by its name."""


def run(name: str) -> Report:
    """Play a scenario, and return what it came to."""
    return SCENARIOS[name]()
