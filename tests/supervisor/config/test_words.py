from blazeio_supervisor.config.app_path import VERBS


def test_each_line_fits_beside_its_verb() -> None:
    assert all(len(f"  {verb:11}  {line}") <= 80 for verb, line in VERBS.items())
