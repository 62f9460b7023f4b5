import msgspec

from blazeio_supervisor.master.upgrade.exec_new import UpgradeOutcome, UpgradeRun


def test_before_the_first_upgrade_none_is_under_way() -> None:
    assert UpgradeOutcome() == UpgradeOutcome(number=0, is_over=True, is_ok=False)


def test_a_rehearsal_blocks_no_signal() -> None:
    handover = UpgradeRun(number=1, by="SIGUSR2", began_at=0.5)
    assert handover.signal_mask == []
    assert msgspec.convert(msgspec.to_builtins(handover), UpgradeRun) == handover
