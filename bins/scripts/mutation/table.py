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


def table(work, args):
    plan = work.plan()
    crates = defaultdict(Counter)
    missed = []
    for m, verdict in finals(work, plan):
        for row in (m["package"].removeprefix("tidegate-"), "all"):
            crates[row][verdict] += 1
        if verdict is None:
            missed.append(m["key"])
    order = sorted(crates, key=lambda c: (c == "all", c))
    seen = sorted({v for c in crates.values() for v in c} - {None, "compiler", "unit", "not asked"}, key=lambda v: (isinstance(v, str), v))
    rows = []
    for c in order:
        n = crates[c]
        rows.append([c, n.total(), n["compiler"], n["not asked"], n["unit"], *(n[v] or "" for v in seen), n[None], rate(n)])
    heads = ["crate", "mutants", "compiler", "not asked", "unit test", *(f"g{v}" if isinstance(v, int) else v for v in seen),
             "missed", "caught of those asked"]
    text = markdown(heads, rows) + "\n\n" + explained(missed)
    write_between(args.doc, f"Measured at `{plan['commit'][:12]}`.\n\n{text}")
    return {"crates": {c: {str(k): v for k, v in n.items()} for c, n in crates.items()},
            "rate": rate(crates["all"]), "missed": missed}


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
