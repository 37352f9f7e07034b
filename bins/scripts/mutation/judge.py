"""Asks tests and swarms about mutants, and keeps what they say."""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from .plant import line_starts, offset, splice, write_file
from .work import REPO, VARIABLE, checked, run

# Seconds of CPU after which tests or a swarm hang; they take a quarter of it. A program that
# sleeps instead is given ten times as long.
UNIT_SECONDS, SLOW_SECONDS, SWARM_SECONDS, BUILD_SECONDS = 2, 10, 15, 3600


def ended(code):
    """How a program ended that should have ended well, or None."""
    if code is None:
        return "hang"
    return None if code == 0 else "abort" if code < 0 or code == 101 else "fail"


# Tests that take seconds: only those are asked that the others let through.
SLOW = ["storm::", "every_history_converges", "every_artifact_ends", "mirrors_converge"]
FAILED = re.compile(r"^test (\S+) .*FAILED$", re.M)


def unit(work, plan, mutant):
    env = dict(work.env, **{VARIABLE: str(mutant["number"])})
    directory = plan["dirs"].get(mutant["package"])
    for executable in plan["tests"].get(mutant["package"], []):
        quick = [word for name in SLOW for word in ("--skip", name)]
        for seconds, which in ((UNIT_SECONDS, quick), (SLOW_SECONDS, SLOW)):
            command = [executable, "--test-threads=1", *which]
            code, out, _ = run(command, seconds, FAILED, cwd=directory, env=env)
            if how := ended(code):
                return {"caught": "hang" if how == "hang" else "test", "by": FAILED.findall(out)}
    return {"caught": None}


def swarm(work, args, mutant, program=None):
    env = dict(work.env, **{VARIABLE: str(mutant["number"])})
    program = program or work.bin / "tidegate-sim"
    with tempfile.TemporaryDirectory(dir=work.dir) as bugs:
        hunts = [["swarm", "--seeds", args.seeds, "--jobs", "1", "--json", "--bugs", bugs]]
        hunts += [["run", name, "--seed", "0", "--seeds", str(args.scenario_seeds), "--json"]
                  for name in scenarios(program) if args.scenario_seeds]
        for hunt in hunts:
            code, out, err = run([program, *hunt], SWARM_SECONDS, cwd=bugs, env=env)
            how = ended(code)
            if how == "fail" and code == 1:
                last = json.loads(out.splitlines()[-1])
                v = (last.get("bugs") or last.get("violations"))[0]
                seed = v.get("seed", last.get("seed"))
                return {"caught": v["guarantee"], "by": hunt[1] if hunt[0] == "run" else "swarm",
                        "seed": seed, "text": v["text"][:300]}
            if how:
                return {"caught": how, "by": hunt[1] if hunt[0] == "run" else "swarm", "text": err[-300:]}
    return {"caught": None}


def scenarios(program, known=[]):
    if not known:
        known += [s["name"] for s in json.loads(checked([program, "list", "--json"]))]
    return known


def judge(work, phase, todo, verdict):
    """Asks for a verdict on each, keeps it at once, and shows how far it is."""
    count = Counter()
    with (work.dir / f"{phase}.jsonl").open("a") as log, ThreadPoolExecutor(work.jobs) as pool:
        asked = {pool.submit(verdict, m): m for m in todo}
        signal.signal(signal.SIGINT, lambda *_: (pool.shutdown(wait=False, cancel_futures=True), os._exit(130)))
        for done, answer in enumerate(as_completed(asked), 1):
            mutant, found = asked[answer], answer.result()
            log.write(json.dumps(dict(found, key=mutant["key"])) + "\n")
            log.flush()
            count["missed" if found["caught"] is None else "caught"] += 1
            print(f"\r{phase}: {done} of {len(todo)}, {count['missed']} missed ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return dict(count)


def pending(work, plan, phase, args, states):
    """Those without a verdict; with --again those that were missed as well."""
    known = work.verdicts(phase)
    settled = {k for k, v in known.items() if v["caught"] is not None or not args.again}
    return [m for m in plan["mutants"] if m["state"] in states and m["key"] not in settled
            and work.only.search(m["key"])]


def unit_phase(work, args):
    plan = work.plan()
    total = judge(work, "unit", pending(work, plan, "unit", args, {"planted"}), lambda m: unit(work, plan, m))
    alone = lambda m: by_itself(work, plan, m, ["test", "--lib", "--tests", "-p", m["package"]], lambda: {"caught": None})
    work.jobs = 1
    if not args.alone:
        return total
    return {"chosen": total, "alone": judge(work, "unit", pending(work, plan, "unit", args, {"alone"}), alone)}


def swarm_phase(work, args):
    plan = work.plan()
    if args.sample:
        # A recording is made beside the simulated world, not in it.
        some = [m for m in pending(work, plan, "sample", args, {"planted"})
                if m["number"] % args.sample == 0 and m["package"] != "tidegate-recording"]
        return judge(work, "sample", some, lambda m: swarm(work, args, m))
    missed = {k for k, v in work.verdicts("unit").items() if v["caught"] is None}
    todo = lambda state: [m for m in pending(work, plan, "swarm", args, {state}) if m["key"] in missed]
    total = judge(work, "swarm", todo("planted"), lambda m: swarm(work, args, m))
    work.jobs = 1
    if not args.alone:
        return total
    target = Path(work.env["CARGO_TARGET_DIR"]) / "debug/tidegate-sim"

    def alone(m):
        def hunt():
            shutil.copy2(target, work.bin / "tidegate-sim-alone")
            return swarm(work, args, m, work.bin / "tidegate-sim-alone")
        return by_itself(work, plan, m, ["build", "-p", "tidegate-sim-cli"], hunt)
    return {"chosen": total, "alone": judge(work, "swarm", todo("alone"), alone)}


def by_itself(work, plan, mutant, command, hunt):
    """Gives one mutant a build: its file as it was, with this change; the others stay planted."""
    file = mutant["file"]
    before = (work.tree / file).read_text()
    text = checked(["git", "show", f"{plan['commit']}:{file}"], cwd=REPO)
    starts = line_starts(text)
    at = [offset(starts, mutant["span"][side]) for side in ("start", "end")]
    try:
        write_file(work, file, splice(text, *at, mutant["replacement"]))
        code, _, err = work.cargo(*command, seconds=BUILD_SECONDS)
        if "could not compile" in err:
            return {"caught": "compiler"}
        if how := ended(code):
            return {"caught": "hang" if how == "hang" else "test"}
        return hunt()
    finally:
        (work.tree / file).write_text(before)
