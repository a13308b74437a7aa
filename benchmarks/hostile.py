"""What it costs to refuse hostile rule sets, or to find that they are harmless.

    python -m benchmarks.hostile

CPU time of this process, milliseconds, of those that cost most.
"""

import time

from rich.table import Table

from benchmarks.turns import console, progress
from service.rules.compile.draft import Draft, compile_rulebook
from service.rules.decide.judge import Judged, judge
from service.rules.decide.rulebook import Rulebook
from tests.rules.hostile import SETS, largest_accepted, most_values
from tests.rules.sets import NOW, candidate, decide

PROMISED_MS = 100
_SHOWN = 20


def checking_ms(files: dict[str, str]) -> tuple[float, Draft]:
    """CPU time to check a set."""
    began = time.process_time()
    draft = compile_rulebook(files)
    return (time.process_time() - began) * 1e3, draft


def judging_ms(rulebook: Rulebook) -> float:
    """CPU time to judge and award one action, the texts as long as they may be."""
    kind = rulebook.action_types.get("mobility.walk")
    if kind is None:
        return 0.0
    given = {"steps": 3, "shoe": "a" * 99 + "!"}
    if "code" in kind.attributes:
        given["code"] = "a" * 199 + "!"
    began = time.process_time()
    judged = judge(rulebook, candidate("mobility.walk", given), NOW)
    if isinstance(judged, Judged):
        decide(rulebook, judged)
    return (time.process_time() - began) * 1e3


def main() -> None:
    """Print a line a set."""
    rows = []
    for name, (make, _) in SETS.items():
        progress.log(name)
        spent, draft = checking_ms(make())
        judging = judging_ms(draft.rulebook) if draft.rulebook else 0.0
        rows.append((spent, judging, name, draft))
    table = Table("set", "check ms", "judge ms", "outcome", box=None)
    for spent, judging, name, draft in sorted(rows, key=lambda row: -row[0])[:_SHOWN]:
        outcome = "harmless" if draft.rulebook else f"refused, {len(draft.errors)} errors"
        table.add_row(name, f"{spent:.1f}", f"{judging:.1f}" if draft.rulebook else "", outcome)
    console.print(table)
    for name, make in {
        "most that is accepted": largest_accepted,
        "most values": most_values,
    }.items():
        spent, draft = checking_ms(make())
        outcome = "refused" if draft.errors else "accepted"
        console.print(f"within all limits, {name}: {outcome} after {spent:,.0f} ms")
    late = [name for spent, judging, name, _ in rows if spent + judging > PROMISED_MS]
    console.print(f"{len(rows)} sets; late, above {PROMISED_MS} ms: {', '.join(late) or 'none'}")


if __name__ == "__main__":
    main()
