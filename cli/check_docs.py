#!/usr/bin/env python3
"""What the program prints is what is committed, and shells can read it; what
is kept as a history, the program can replay.

usage: check_docs.py MESHHOOK ROOT [--update]
"""
import difflib
import pathlib
import shutil
import subprocess
import sys

binary, root = sys.argv[1], pathlib.Path(sys.argv[2])
update = sys.argv[3:] == ["--update"]
PAGES = {
    "docs/cli.md": ["help", "--markdown"],
    "docs/configuration.md": ["help", "--configuration"],
    "cli/golden/help.txt": ["help"],
    "cli/golden/help-run.txt": ["help", "run"],
    "cli/golden/help-run-start.txt": ["run", "start", "--help"],
    "cli/golden/help-logs.txt": ["help", "logs"],
}
# Typed before the cursor, and what of the offered words must be there.
COMPLETIONS = [
    (["meshhook", ""], {"run", "logs", "doctor"}),
    (["meshhook", "work"], {"workflow"}),
    (["meshhook", "run", ""], {"start", "list", "show", "events", "cancel"}),
    (["meshhook", "run", "start", "--w"], {"--wait"}),
    (["meshhook", "logs", "latest", "--level", ""], {"warn", "error"}),
    (["meshhook", "-o", "json", "endpoint", "c"], {"create"}),
    (["meshhook", "run", "list", "--output", "=", "j"], {"json"}),
]
failures = []


def run(*args, **kw):
    return subprocess.run(args, capture_output=True, text=True, check=False, **kw)


def check_page(name, args):
    got = run(binary, *args)
    path = root / name
    if got.returncode != 0 or got.stderr:
        failures.append(f"{name}: {got.stderr}")
    if update:
        path.write_text(got.stdout, encoding="utf-8")
    want = path.read_text(encoding="utf-8") if path.exists() else ""
    if got.stdout != want:
        diff = difflib.unified_diff(want.splitlines(), got.stdout.splitlines(),
                                    name, "printed", lineterm="")
        failures.append("\n".join(diff) + "\nif that is meant: "
                        f"cli/check_docs.py {binary} . --update")
    long = [line for line in got.stdout.splitlines() if len(line) > 80]
    if name.endswith(".txt") and long:
        failures.append(f"{name}: wider than a terminal: {long[0]}")


def check_bash():
    script = run(binary, "completion", "bash").stdout
    syntax = run("bash", "-n", input=script)
    if syntax.returncode != 0 or not script:
        failures.append(f"bash: {syntax.stderr}")
    for words, wanted in COMPLETIONS:
        typed = " ".join(f"'{w}'" for w in words)
        got = run("bash", "-c", f"{script}\nCOMP_WORDS=({typed})\n"
                  f"COMP_CWORD={len(words) - 1}\n_meshhook\n"
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        offered = set(got.stdout.split())
        prefix = words[-1]
        if got.stderr or not wanted <= offered or \
                any(not w.startswith(prefix) for w in offered):
            failures.append(f"bash, {words}: {sorted(offered)} {got.stderr}")


def check_zsh():
    script = run(binary, "completion", "zsh").stdout
    if shutil.which("zsh") is None:
        print("zsh is not here: its script was not checked")
        return
    syntax = run("zsh", "-n", "/dev/stdin", input=script)
    loaded = run("zsh", "-fc", "autoload -U compinit; compinit -D; "
                 "source /dev/stdin; whence -w _meshhook", input=script)
    if syntax.returncode != 0 or syntax.stderr or "function" not in loaded.stdout:
        failures.append(f"zsh: {syntax.stderr} {loaded.stderr}")


def check_histories():
    """Every kept history is one that replay reads and finds right."""
    files = sorted((root / "tests/golden").glob("*.json"))
    for path in files:
        got = run(binary, "replay", path, "-o", "json")
        if got.returncode != 0 or '"result":"ok"' not in got.stdout:
            failures.append(f"replay {path.name}: {got.stdout}{got.stderr}")
    if not files:
        failures.append("tests/golden has no histories")


for page, command in PAGES.items():
    check_page(page, command)
check_bash()
check_zsh()
check_histories()
print("\n".join(failures) or
      f"{len(PAGES)} pages, two completions and the golden histories hold")
sys.exit(1 if failures else 0)
