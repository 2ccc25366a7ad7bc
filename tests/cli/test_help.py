"""`p2seg NAME --help`: what a person can set, on one screen or two."""

from __future__ import annotations

import pytest

from p2seg.cli.main import main
from p2seg.cli.paths import CONFIGS

COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_is_its_own(command, capsys):
    assert main(["experiment", command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 60
    assert lines[0].startswith(f"p2seg {command}: ")
    assert lines[-1] == f"All settings: p2seg {command} --help-all"
    assert not any("_target_" in line for line in lines)


def test_settings_stand_with_their_defaults_and_their_meaning(capsys):
    main(["eval", "-h"])
    page = capsys.readouterr().out
    assert "  void=count                        count | ignore" in page
    assert "trainer" not in page
    main(["experiment", "train", "--help"])
    page = capsys.readouterr().out
    for row in (
        "  trainer.max_steps=50000",
        "  mdm=best|bestie|ellipses|paper",
        "  data.augment.crop=",
    ):
        assert row in page
    assert "export.edges" not in page
    main(["gen-pseudo", "--help"])
    assert "  export.edges=0" in capsys.readouterr().out
