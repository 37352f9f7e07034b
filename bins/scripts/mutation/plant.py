"""Plants every mutant in a copy of the workspace, and builds it.

The body of a function becomes a `match` on the chosen number: one arm is its body as it was,
every other one has one mutant. An arm that rustc complains of goes, until nothing is left to
complain of.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

from .work import REPO, VARIABLE, Misuse, checked, run

SWITCH = f"""
#[allow(clippy::all, clippy::disallowed_methods)]
pub(crate) mod planted {{
    pub(crate) fn number() -> u32 {{
        static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
        *NUMBER.get_or_init(|| std::env::var("{VARIABLE}").map_or(0, |n| n.parse().unwrap_or(0)))
    }}
}}
"""
ALLOW = "#![allow(warnings, arithmetic_overflow, unconditional_panic)] "


def key_of(mutant, seen):
    """The name without line and column, numbered where a function has it more than once."""
    name = re.sub(r":\d+:\d+:", ":", mutant["name"], count=1)
    seen[name] += 1
    return name if seen[name] == 1 else f"{name} #{seen[name]}"


def listed():
    """What cargo-mutants would do, with `.cargo/mutants.toml` of this repository."""
    code, out, err = run(["cargo", "mutants", "--list", "--json", "--no-shuffle"], cwd=REPO)
    if "no such command" in err:
        raise Misuse("cargo-mutants is not installed; run `cargo install --locked cargo-mutants@27.1.0`")
    if code != 0:
        raise Misuse(f"cargo mutants --list failed:\n{err}")
    seen = Counter()
    mutants = json.loads(out)
    mutants.sort(key=lambda m: (m["file"], m["span"]["start"]["line"], m["span"]["start"]["column"]))
    return [dict(m, key=key_of(m, seen), number=n) for n, m in enumerate(mutants, 1)]


def offset(starts, place):
    return starts[place["line"] - 1] + place["column"] - 1


def splice(text, begin, end, replacement):
    """The gap that a deletion leaves may not join two tokens."""
    return text[:begin] + f" {replacement} " + text[end:]


TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|[^'\\])'|[{}]""", re.S)


def body_of(text, begin, end):
    """Where the body begins that ends at `end`: its brace, strings and comments skipped."""
    open_braces = []
    for token in TOKEN.finditer(text, begin, end):
        if token[0] == "{":
            open_braces.append(token.start())
        elif token[0] == "}":
            last = open_braces.pop()
    return last


def line_starts(text):
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def fixed(mutant, text):
    """Whether nothing can be chosen at run time where the mutant is."""
    if not (function := mutant["function"]) or "impl " in function["return_type"]:
        return True
    begin, end = (offset(line_starts(text), function["span"][side]) for side in ("start", "end"))
    return re.search(r"^[^/\n]*\bconst fn\b", text[begin:body_of(text, begin, end)], re.M) is not None


def functions(mutants, starts):
    """Outermost functions, each with its mutants: (begin, end, mutants)."""
    spans = sorted(((offset(starts, m["function"]["span"]["start"]),
                     -offset(starts, m["function"]["span"]["end"]), m["number"], m) for m in mutants))
    groups = []
    for begin, end, _, mutant in spans:
        if groups and begin < groups[-1][1]:
            groups[-1][2].append(mutant)
        else:
            groups.append((begin, -end, [mutant]))
    return groups


def planted(text, mutants):
    """The file with an arm for each mutant, and {line: number} of the arms."""
    starts = line_starts(text)
    out, done, lines = "", 0, {}
    for begin, end, group in functions(mutants, starts):
        brace = body_of(text, begin, end)
        out += text[done:brace] + "{ match crate::planted::number() {\n"
        for m in group:
            at = [offset(starts, m["span"][side]) - brace for side in ("start", "end")]
            arm = f"{m['number']} =>\n{splice(text[brace:end], *at, m['replacement'])},\n"
            first = out.count("\n") + 1
            lines.update((line, m["number"]) for line in range(first, first + arm.count("\n")))
            out += arm
        out += f"_ => {text[brace:end]}\n}} }}"
        done = end
    return out + text[done:], lines


def is_root(file):
    return file.endswith("src/lib.rs")


def write_file(work, file, text):
    """Leaves a file that is as it should be untouched, so that cargo does not build it again."""
    path = work.tree / file
    data = text if isinstance(text, bytes) else (ALLOW + text + SWITCH if is_root(file) else text).encode()
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def export(work, commit):
    """The files of a commit: {path: content}; what the last copy had beyond them is deleted."""
    archive = subprocess.run(["git", "archive", commit], cwd=REPO, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    for path in [p for p in work.tree.rglob("*") if p.is_file()]:
        if str(path.relative_to(work.tree)) not in files:
            path.unlink()
    return files


def write_planted(work, sources, mutants):
    arms = {}
    for file, text in sources.items():
        chosen = [m for m in mutants if m["file"] == file and m["state"] == "planted"]
        text, arms[file] = planted(text, chosen)
        write_file(work, file, text)
    return arms


def guilty(output, arms):
    """The numbers of the arms that rustc complains of."""
    found, unknown = set(), []
    for line in output.splitlines():
        message = json.loads(line).get("message")
        if not isinstance(message, dict) or message.get("level") != "error" or not message["spans"]:
            continue
        numbers = set()
        for primary in (True, False):
            spans = [s for s in message["spans"] if s["is_primary"] == primary]
            numbers = numbers or {arms.get(s["file_name"], {}).get(s["line_start"]) for s in spans} - {None}
        found |= numbers
        if not numbers:
            unknown.append(message["rendered"])
    if not found:
        raise Misuse("the planted copy does not compile, and no mutant is to blame:\n" + "".join(unknown[:3]))
    return found


def known_unviable(work, sources):
    """What did not compile when the last plan was made, and which files are as they were then."""
    if not (work.dir / "plan.json").exists():
        return set(), {}
    plan = work.plan()
    before = lambda file: run(["git", "show", f"{plan['commit']}:{file}"], cwd=REPO)[1]
    same = {file: before(file) == text for file, text in sources.items()}
    return {m["key"] for m in plan["mutants"] if m["state"] == "unviable"}, same


def plant(work, args):
    work.dir.mkdir(parents=True, exist_ok=True)
    mutants = listed()
    commit = checked(["git", "rev-parse", "HEAD"], cwd=REPO).strip()
    packages = sorted({m["package"] for m in mutants})
    files = export(work, commit)
    roots = {f"{m['file'].split('/src/')[0]}/src/lib.rs" for m in mutants}
    sources = {f: files.pop(f).decode() for f in {m["file"] for m in mutants} | roots}
    for file, content in files.items():
        write_file(work, file, content)
    unviable, same = known_unviable(work, sources)
    for m in mutants:
        m["state"] = "alone" if fixed(m, sources[m["file"]]) else "planted"
        if m["key"] in unviable and same[m["file"]]:
            m["state"] = "unviable"
    select = [word for package in packages for word in ("-p", package)]
    while True:
        arms = write_planted(work, sources, mutants)
        code, out, _ = work.cargo("check", "--keep-going", "--message-format", "json", *select)
        if code == 0:
            break
        wrong = guilty(out, arms)
        for m in mutants:
            if m["number"] in wrong:
                m["state"] = "unviable"
        print(f"{len(wrong)} more do not compile", file=sys.stderr)
    tests, dirs = build(work, [["test", "--no-run", "--lib", "--tests", *select], ["build", "-p", "tidegate-sim-cli"]])
    plan = {"commit": commit, "mutants": mutants, "tests": tests, "dirs": dirs}
    (work.dir / "plan.json").write_text(json.dumps(plan))
    return dict(Counter(m["state"] for m in mutants), commit=commit)


def dependents_first(packages):
    """So that new tests of one package leave what others were built from as it is."""
    known = json.loads(checked(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=REPO))["packages"]
    needs = {p["name"]: {d["name"] for d in p["dependencies"]} & set(packages) - {p["name"]} for p in known}
    order = []
    while left := [p for p in packages if p not in order]:
        order.append(next((p for p in left if not any(p in needs[other] for other in left)), left[0]))
    return order


def retest(work, args):
    plan, mutants = work.plan(), listed()
    states = {m["key"]: m["state"] for m in plan["mutants"]}
    if [m["key"] for m in mutants] != [m["key"] for m in plan["mutants"]]:
        raise Misuse("more than tests has changed since the last plan; run `bins/scripts/mutants plant`")
    for m in mutants:
        m["state"] = states[m["key"]]
    plan["commit"] = checked(["git", "rev-parse", "HEAD"], cwd=REPO).strip()
    files = export(work, plan["commit"])
    packages = sorted({m["package"] for m in mutants})
    for package in filter(work.only.search, dependents_first(packages)):
        directory = "actors/" + package.removeprefix("tidegate-")
        mine = {f: content for f, content in files.items() if f.startswith(directory + "/")}
        roots = {f for f in mine if is_root(f)} | {m["file"] for m in mutants if m["package"] == package}
        for file, content in mine.items():
            if file not in roots:
                write_file(work, file, content)
        write_planted(work, {f: mine[f].decode() for f in roots}, mutants)
        tests, _ = build(work, [["test", "--no-run", "--lib", "--tests", "-p", package]])
        plan["tests"].update(tests)
        print(f"{package}: {len(tests[package])} programs", file=sys.stderr)
    plan["mutants"] = mutants
    (work.dir / "plan.json").write_text(json.dumps(plan))
    return {"commit": plan["commit"], "tests": sum(map(len, plan["tests"].values()))}


def build(work, commands):
    """Builds tests, or the simulator; returns {package: [executable]} and {package: directory}."""
    tests, dirs = defaultdict(list), {}
    for command in commands:
        code, out, err = work.cargo(*command, "--message-format", "json")
        if code != 0:
            raise Misuse(f"cargo {command[0]} failed in {work.tree}:\n{err[-2000:]}")
        for message in map(json.loads, out.splitlines()):
            if message.get("executable") and message["target"]["name"] == "tidegate-sim":
                work.bin.mkdir(exist_ok=True)
                shutil.copy2(message["executable"], work.bin / "tidegate-sim")
            elif message.get("executable"):
                package = re.search(r"[#/](tidegate-[a-z-]+|[a-z-]+)[@#]", message["package_id"])[1]
                package = package if package.startswith("tidegate-") else f"tidegate-{package}"
                tests[package].append(message["executable"])
                dirs[package] = str(Path(message["manifest_path"]).parent)
    return tests, dirs
