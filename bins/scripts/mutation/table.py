"""What came of it, in Markdown."""

import tomllib
from collections import Counter, defaultdict

from .work import REPO, Misuse

EXPLANATIONS = REPO / "docs/mutants-missed.toml"


def finals(work, plan):
    """(mutant, verdict) of each: compiler, not asked, unit, a guarantee, abort, hang, None for missed."""
    tested, hunted = work.verdicts("unit"), work.verdicts("swarm")
    for m in plan["mutants"]:
        if m["state"] != "unviable" and m["key"] not in tested:
            yield m, "not asked"
            continue
        by_unit = tested.get(m["key"], {}).get("caught")
        by_swarm = hunted.get(m["key"], {}).get("caught")
        if m["state"] == "unviable" or "compiler" in (by_unit, by_swarm):
            yield m, "compiler"
        else:
            yield m, "unit" if by_unit else by_swarm


def markdown(heads, rows):
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    rule = "|" + "|".join(["---"] + ["--:"] * (len(heads) - 1)) + "|"
    return "\n".join([line(heads), rule, *map(line, rows)])


def rate(count):
    viable = count.total() - count["compiler"] - count["not asked"]
    return f"{100 * (viable - count[None]) / viable:.1f} %" if viable else "–"


def counted(verdicts):
    """{crate: {verdict: number}}, and all of them together."""
    crates = defaultdict(Counter)
    for m, verdict in verdicts:
        for row in (m["package"].removeprefix("tidegate-"), "all"):
            crates[row][verdict] += 1
    return {c: crates[c] for c in sorted(crates, key=lambda c: (c == "all", c))}


def oracles_in(crates):
    """The guarantees and other ends by which a swarm caught something, in order."""
    seen = {v for count in crates.values() for v in count} - {None, "compiler", "unit", "not asked"}
    return sorted(seen, key=lambda v: (isinstance(v, str), v))


def label(verdict):
    return f"g{verdict}" if isinstance(verdict, int) else verdict


def table(work, args):
    plan = work.plan()
    verdicts = list(finals(work, plan))
    missed = [m["key"] for m, verdict in verdicts if verdict is None]
    crates = counted(verdicts)
    seen = oracles_in(crates)
    first = ["compiler", "not asked", "unit"]
    heads = ["crate", "mutants", "compiler", "not asked", "unit test", *map(label, seen), "missed", "caught of those asked"]
    rows = [[c, n.total(), *(n[v] or "" for v in first + seen), n[None], rate(n)] for c, n in crates.items()]
    parts = [f"Measured at `{plan['commit'][:12]}`.", markdown(heads, rows)]
    if sampled := work.verdicts("sample"):
        parts += ["### The swarm alone", SAMPLE, sample(plan, sampled)]
    parts += ["### Missed", explained(missed)]
    write_between(args.doc, "\n\n".join(parts))
    return {"rate": rate(crates["all"]), "crates": {c: {str(k): v for k, v in n.items()} for c, n in crates.items()},
            "missed": missed}


SAMPLE = ("A sample of the viable mutants, taken evenly over the files, and what the swarm says of them when no test "
          "is asked: the power of the oracles by themselves.")


def sample(plan, verdicts):
    crates = counted((m, verdicts[m["key"]]["caught"]) for m in plan["mutants"] if m["key"] in verdicts)
    seen = oracles_in(crates)
    heads = ["crate", "sampled", *map(label, seen), "missed", "caught"]
    return markdown(heads, [[c, n.total(), *(n[v] or "" for v in seen), n[None], rate(n)] for c, n in crates.items()])


def explained(missed):
    groups = tomllib.loads(EXPLANATIONS.read_text())["missed"] if EXPLANATIONS.exists() else []
    out, left = [], list(missed)
    for group in groups:
        mine = [k for k in left if k in group["mutants"]]
        left = [k for k in left if k not in group["mutants"]]
        if mine:
            out.append(f"**{group['why']}**\n\n" + "\n".join(f"- `{k}`" for k in mine))
    if left:
        out.append("**Not explained yet**\n\n" + "\n".join(f"- `{k}`" for k in left))
    return "\n\n".join(out)


BEGIN, END = "<!-- written by bins/scripts/mutants table -->", "<!-- end -->"


def write_between(path, text):
    before = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    if BEGIN not in before or END not in before:
        raise Misuse(f"{path} has no place for the table; add the lines `{BEGIN}` and `{END}`")
    head, rest = before.split(BEGIN, 1)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")
