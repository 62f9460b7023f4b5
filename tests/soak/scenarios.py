"""All scenarios, in the order in which they are run."""

from tests.soak import (
    blocked,
    broken_code,
    changes,
    chaos,
    endurance,
    figures,
    orphans,
    sharing,
    slow_peers,
    under_systemd,
    upgrades,
)
from tests.soak.run import Scenario

SCENARIOS = (
    Scenario("reloads", "50 reloads under load", changes.reload_fifty_times),
    Scenario("kills", "20 kill -9 of random workers under load", changes.kill_workers),
    Scenario("recycles", "20 times `recycle SLOT`", changes.recycle_by_verb),
    Scenario("max-requests", "20 workers are replaced", changes.recycle_by_requests),
    Scenario("scale", "4 to 8 to 2 to 4 workers, ten times", changes.scale_up_and_down),
    Scenario("chaos", "everything at once", chaos.cause_chaos),
    Scenario("chaos-pool", "with a pool", chaos.cause_chaos_with_a_pool),
    Scenario("chaos-threads", "with threads", chaos.cause_chaos_with_threads),
    Scenario("chaos-helper", "with a helper", chaos.cause_chaos_with_a_helper),
    Scenario("chaos-asgi", "with Starlette", chaos.cause_chaos_with_starlette),
    Scenario("chaos-wsgi", "with Flask", chaos.cause_chaos_with_flask),
    Scenario("blocked", "one of four workers is blocked", blocked.block_one_of_four),
    Scenario("broken", "reloads onto broken code", broken_code.reload_onto_broken_code),
    Scenario("upgrades", "5 upgrades (USR2) under load", upgrades.upgrade_five_times),
    Scenario(
        "broken-upgrades",
        "upgrades onto broken code, in the rehearsal and in earnest",
        upgrades.upgrade_onto_broken_code,
    ),
    Scenario("endurance", "1,000 reloads", endurance.reload_a_thousand_times),
    Scenario("orphans", "kill -9 of the master", orphans.kill_the_master),
    Scenario("fairness", "bursts of new connections", sharing.share_connections),
    Scenario("memory", "8 workers of a large app", sharing.share_memory),
    Scenario("figures", "the metrics beside the clients", figures.count_requests),
    Scenario("attacks", "slowhttptest in each mode", slow_peers.attack_slowly),
    Scenario("stalled", "50 stalled readers of 32 MiB", slow_peers.stall_readers),
    Scenario("half-closed", "1,000 half-closed clients", slow_peers.half_close),
    Scenario("systemd", "reloads and restarts of a unit", under_systemd.change_unit),
    Scenario("aborted", "10,000 aborted connections", slow_peers.abort_connections),
)
