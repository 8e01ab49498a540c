"""The tool that kills commands finds a command that loses its work, and no other."""

from pathlib import Path
from random import Random

import pytest

from tools.kill_commands import Case, _files, check
from utils_ft import UserError

COUNT = """
import time
from pathlib import Path
import utils_ft

out = Path("out")

def main():
    out.mkdir(exist_ok=True)
    with utils_ft.one_writer(out / "numbers"):
        for number in range(8):
            time.sleep(0.1)
            {write}

utils_ft.command(main)()
"""
CAREFUL = 'utils_ft.write_text(out / f"{number}", str(number))'
CARELESS = 'open(out / "all", "a").write(str(number))'


def count(base: Path, code: str, twice: bool = False) -> int:
    """How many results of a command differ after four kills."""
    base.mkdir(parents=True)
    (base / "count.py").write_text(code)
    return check("count", Case(("count",), "out", _files, twice=twice), base, 4, Random(0))


def test_only_a_command_that_loses_its_work_has_other_results(tmp_path, capsys):
    assert count(tmp_path / "a" / "base", COUNT.format(write=CAREFUL)) == 0
    assert count(tmp_path / "b" / "base", COUNT.format(write=CARELESS)) > 0
    assert "count: another result after a kill at" in capsys.readouterr().out


def test_two_processes_at_once_must_leave_the_result_of_one(tmp_path, capsys):
    careful = COUNT.format(write=CAREFUL)
    assert count(tmp_path / "a" / "base", careful, twice=True) == 0
    told = capsys.readouterr().out
    assert "of 4 refused the second process, 0 results differ" in told and " 0 of 4 " not in told
    unlocked = COUNT.format(write=CARELESS).replace(
        'utils_ft.one_writer(out / "numbers")', 'open("log", "w")'
    )
    assert count(tmp_path / "b" / "base", unlocked, twice=True) > 0
    nameless = careful.replace("out = ", "utils_ft._process_name = lambda: 'somebody'\nout = ")
    with pytest.raises(UserError, match="in two processes ended with"):
        count(tmp_path / "c" / "base", nameless, twice=True)
