"""Draws Figures 7 and 8 of the paper from the runs of Table 3.

    python scripts/reproduce_figures.py --data drawn    # or ./scripts/reproduce_figures.sh

Figure 7 shows the image, the masks of BESTIE and of P2Seg, and the ground truth. Figure 8 shows the
instances found after a growing number of steps, without and with mutual distillation. The files are
`figure7_<data>.png` and `figure8_<data>.png` in `--out`. The runs are those of `reproduce.py 3`,
and finished runs are reused.
"""

from __future__ import annotations

import shlex
import subprocess
import sys

from paper_tables import TABLES
from reproduce import ROOT, common_parser, plan_of, read_words, run_all
from table_rows import MINE

from p2seg.cli.arguments import CONSOLE, command
from p2seg.errors import UserError

PLACES = ("+exp=", "name=", "data.")
"""Prefixes of the settings that locate the images, clicks and maps of a run."""


@command
def main(words: list[str]) -> None:
    """Runs the unfinished runs and draws the figures, or prints the commands."""
    parser = common_parser("Figures 7 and 8.")
    parser.add_argument("--seed", dest="seeds", type=lambda text: [int(text)], default=[0])
    asked = read_words(parser, words)
    runs = plan_of(TABLES["3"], asked)
    [seed] = asked.seeds
    needed = {key: runs[key] for key in (("BESTIE", seed), ("S2I", seed), (MINE, seed))}
    bestie, without, ours = (folder for folder, _ in needed.values())
    own = [word for word in needed[MINE, seed][1] if word.startswith(PLACES)]
    masks = f"masks=[{bestie / 'mdm.json'},{ours / 'mdm.json'}]"
    learned = f"runs=[{without / 'network'},{ours / 'network'}]"
    figures = {
        7: ["figure=masks", masks, "titles=[BESTIE,P2Seg]"],
        8: ["figure=progress", learned, "titles=[without,with]", "count=2"],
    }
    tool = [sys.executable, str(ROOT / "tools/visualize.py"), *own]
    drawn = [
        [*tool, *figure, f"out={asked.out / f'figure{number}_{asked.data}.png'}"]
        for number, figure in figures.items()
    ]
    if asked.dry_run:
        commands = [*(run for _, run in needed.values()), *drawn]
        sys.stdout.write("".join(shlex.join(each[1:]) + "\n" for each in commands))
        return
    run_all(needed)
    for each in drawn:
        CONSOLE.print(shlex.join(each[1:]))
        if subprocess.run(each, check=False).returncode:
            raise UserError("the figure could not be drawn; fix the error above")


if __name__ == "__main__":
    raise SystemExit(main())
