#!/usr/bin/env python3
"""Run one test program and count its tests.

usage: run.py LABEL LOG RESULTS SECONDS [--meson TESTLOG] -- COMMAND...

Its output goes to LOG; a line of progress and each failure go to stderr; one
line of JSON {label, passed, failed, skipped, names} is appended to RESULTS.
How the tests are counted, the first that fits:
  --meson    meson's testlog.json; within a test, each case that cmocka names
  summary    the last line is "N passed, N failed"
  TAP        "1..N" and "ok"/"not ok" lines; node's "# pass N" sums win
  otherwise  the exit code, as one test
A command that fails, dies or takes too long without a failed test is one.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

SUMMARY = re.compile(r'^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$')
TAP_LINE = re.compile(r'^(not )?ok\b\s*\d*\s*-?\s*(.*)')
NODE_SUM = re.compile(r'^# (pass|fail|cancelled|skipped) (\d+)$')
SAID_FAILED = re.compile(r'^(error:|failed:|FAILED:) .*')
CASE_OK = re.compile(r'\[       OK \] ')
# Named when it happens and again in the sum at the end: "[ FAILED ] 1 test(s),
# listed below:", in newer versions "[ FAILED ] tests: 1 test(s), ...".
CASE_FAILED = re.compile(r'\[  FAILED  \] (?!(?:\w+: )?\d+ test)([\w.-]+)')
CASE_SKIPPED = re.compile(r'\[  SKIPPED \] (?!(?:\w+: )?\d+ test)([\w.-]+)')


class Count:
    """What has been counted so far."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.names = []
        self.said = []  # names of failures, where a summary gives only numbers
        self.plan = None
        self.node = {}
        self.summary = None

    def fail(self, name):
        self.failed += 1
        self.names.append(name)

    def line(self, line):
        """Take one line of output; return the failure it tells of, if any."""
        self.summary = SUMMARY.match(line) or \
            (self.summary if not line.strip() else None)
        if SAID_FAILED.match(line):
            self.said.append(line)
        if m := NODE_SUM.match(line):
            self.node[m[1]] = int(m[2])
        if m := re.match(r'^1\.\.(\d+)', line):
            self.plan = int(m[1])
        if not (m := TAP_LINE.match(line)):
            return None
        if '# SKIP' in line:
            self.skipped += 1
        elif m[1] and '# TODO' not in line:
            self.fail(m[2] or line)
            return line
        else:
            self.passed += 1
        return None

    def settle(self, rc):
        """The output has ended: make the numbers final."""
        if self.summary:
            self.passed, self.failed = int(self.summary[1]), int(self.summary[2])
            self.skipped = int(self.summary[3] or 0)
            if self.failed and not self.names:
                self.names = self.said or [f'{self.failed} tests']
        elif 'pass' in self.node:
            self.passed = self.node['pass']
            self.failed = self.node['fail'] + self.node.get('cancelled', 0)
            self.skipped = self.node.get('skipped', 0)
        elif self.plan is not None:
            seen = self.passed + self.failed + self.skipped
            if self.plan != seen:
                self.fail(f'planned {self.plan} tests, ran {seen}')
        elif rc == 0 and self.passed + self.failed == 0:
            self.passed = 1


def read_meson(path, count):
    """Count from meson's log: cases where a program names them."""
    with open(path, encoding='utf-8') as f:
        for entry in map(json.loads, f):
            text = (entry.get('stdout') or '') + (entry.get('stderr') or '')
            ok = len(CASE_OK.findall(text))
            failed = sorted(set(CASE_FAILED.findall(text)))
            skipped = len(set(CASE_SKIPPED.findall(text)))
            count.passed += ok
            count.skipped += skipped
            for case in failed:
                count.fail(f'{entry["name"]}: {case}')
            if entry['result'] == 'SKIP':
                count.skipped += 1
            elif entry['result'] in ('OK', 'EXPECTEDFAIL'):
                count.passed += ok + skipped == 0
            elif not failed:
                count.fail(f'{entry["name"]}: {entry["result"]}')


def progress(text):
    if sys.stderr.isatty() and os.environ.get('TERM', 'dumb') != 'dumb':
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)
        return True
    return False


def stop(child):
    """End the command with all that it started."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sig)
            child.wait(5)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def follow(child, label, log, seconds, count):
    """Read the output to its end; True if the time was enough."""
    started = said = time.monotonic()

    def too_late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        for raw in child.stdout:
            log.write(raw)
            log.flush()
            failure = count.line(raw.decode('utf-8', 'replace').rstrip('\n'))
            now = time.monotonic()
            if failure:
                progress('')
                print(f'  {failure}', file=sys.stderr)
            if now - said > 0.3 or failure:
                state = f'{label} ... {count.passed + count.failed} ({now - started:.0f}s)'
                if progress(state):
                    said = now
                elif now - said > 15:
                    print(state, file=sys.stderr)
                    said = now
        child.wait()
        return True
    except TimeoutError:
        return False
    finally:
        signal.alarm(0)
        progress('')


def tail(path, lines=60):
    with open(path, encoding='utf-8', errors='replace') as f:
        for line in f.read().splitlines()[-lines:]:
            print(f'  | {line}', file=sys.stderr)


def main():
    split = sys.argv.index('--')
    label, log_path, results, seconds, *options = sys.argv[1:split]
    count = Count()
    started = time.monotonic()
    if not sys.stderr.isatty():
        print(f'{label} ...', file=sys.stderr)
    with open(log_path, 'wb') as log:
        child = subprocess.Popen(sys.argv[split + 1:], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 start_new_session=True)

        def on_signal(number, _):
            stop(child)
            sys.exit(128 + number)

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)
        in_time = follow(child, label, log, int(seconds), count)
        if not in_time:
            stop(child)
            count.summary = None
    rc = child.returncode
    if options[:1] == ['--meson'] and os.path.exists(options[1]):
        count.passed = count.failed = count.skipped = 0
        count.names = []
        read_meson(options[1], count)
    else:
        count.settle(rc)
    if not in_time:
        count.fail(f'not over after {seconds} s')
    elif rc != 0 and count.failed == 0:
        count.fail(f'exit code {rc}')
    if count.failed:
        tail(log_path)
        print(f'  the whole output: {log_path}', file=sys.stderr)
    print(f'{"✗" if count.failed else "✓"} {label}: {count.passed} passed'
          + (f', {count.failed} failed' if count.failed else '')
          + (f', {count.skipped} skipped' if count.skipped else '')
          + f' ({time.monotonic() - started:.0f}s)', file=sys.stderr)
    with open(results, 'a', encoding='utf-8') as f:
        f.write(json.dumps({'label': label, 'passed': count.passed,
                            'failed': count.failed, 'skipped': count.skipped,
                            'names': count.names}) + '\n')
    return 1 if count.failed else 0


if __name__ == '__main__':
    sys.exit(main())
