"""Where everything is kept, and how programs are run: bounded in time and in memory."""

import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
# What chooses a mutant when a planted program starts.
VARIABLE = "TIDEGATE_MUTANT"
MEMORY_BYTES = 2 << 30
class Misuse(Exception):
    """What the caller can mend, and how."""


def run(command, seconds=None, stop=None, **options):
    """Runs to the end, or to a line that `stop` matches, or until `seconds` of CPU are over;
    returns (exit code or None, stdout, stderr)."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        child = subprocess.Popen(
            [str(c) for c in command], stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace",
            start_new_session=True, preexec_fn=limit if seconds else None, **options)
        late = threading.Timer(10 * (seconds or 1e6), os.killpg, (child.pid, signal.SIGXCPU))
        late.daemon = True
        late.start()
        lines = []
        for line in child.stdout:
            lines.append(line)
            if stop and stop.search(line):
                os.killpg(child.pid, signal.SIGKILL)
                break
        code = child.wait()
        late.cancel()
        errors.seek(0)
        hung = code in (-signal.SIGXCPU, -signal.SIGKILL) and not (stop and lines and stop.search(lines[-1]))
        return None if hung else code, "".join(lines), errors.read()


def checked(command, **options):
    code, out, err = run(command, **options)
    if code != 0:
        raise Misuse(f"`{' '.join(map(str, command))}` failed:\n{err[-2000:]}")
    return out


class Work:
    """The directory that everything is kept in."""

    def __init__(self, args):
        self.dir, self.jobs = args.dir.resolve(), args.jobs
        self.only = re.compile(getattr(args, "only", None) or "")
        self.tree, self.bin = self.dir / "tree", self.dir / "bin"
        self.env = dict(os.environ, CARGO_INCREMENTAL="0", CARGO_TERM_COLOR="never", RUST_BACKTRACE="0")
        self.env.setdefault("CARGO_TARGET_DIR", str(self.dir / "target"))

    def plan(self):
        path = self.dir / "plan.json"
        if not path.exists():
            raise Misuse(f"there is no {path}; run `bins/scripts/mutants plant` first")
        return json.loads(path.read_text())

    def verdicts(self, phase):
        """The newest verdict on each mutant, by its key."""
        path = self.dir / f"{phase}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return {v["key"]: v for v in map(json.loads, lines)}

    def cargo(self, *command, seconds=None):
        return run(["cargo", *command, "--locked"], seconds, cwd=self.tree, env=self.env)
