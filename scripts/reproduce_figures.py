"""Figures 7 and 8 of the paper, of the runs of Table 3.

    python scripts/reproduce_figures.py --data drawn    # or ./scripts/reproduce_figures.sh

Figure 7: image, BESTIE's masks, ours, ground truth. Figure 8: instances that are found after more
and more steps, without mutual distillation and with it. They go to `figure7_<data>.png` and
`figure8_<data>.png` in `--out`; the runs are those of `reproduce.py 3`, and what is done is not
done again.
"""

from __future__ import annotations

import shlex
import subprocess
import sys

from paper_tables import MINE, TABLES
from reproduce import ROOT, common_parser, plan_of, read_words, run_all

from p2seg.cli.arguments import CONSOLE, command
from p2seg.errors import UserError

PLACES = ("+exp=", "name=", "data.")
"""The words of a run that say where its images, clicks and maps are."""


@command
def main(words: list[str]) -> None:
    """Runs what is not done and draws, or prints the commands."""
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
            raise UserError("the figure could not be drawn; mend what it says above")


if __name__ == "__main__":
    raise SystemExit(main())
