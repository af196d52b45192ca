#!/usr/bin/env python3
"""scripts/test counts right: usage: test_runner.py ROOT

Each case is a test program, and the numbers that run.py must make of it. What
matters most: nothing that failed, died or never ran may pass for a success.
"""
import json
import os
import subprocess
import sys
import tempfile

RUN = os.path.join(sys.argv[1], 'scripts', 'test.d', 'run.py')
MESON_OK = {'name': 'a', 'result': 'OK',
            'stdout': '[       OK ] t1\n[       OK ] t2\n', 'stderr': ''}
MESON_BAD = {'name': 'b', 'result': 'FAIL', 'stdout': '[       OK ] t1\n',
             'stderr': '[  FAILED  ] t2\n[  FAILED  ] tests: 1 test(s), listed '
             'below:\n[  FAILED  ] t2\n'}

MESON_PART = {'name': 'd', 'result': 'OK', 'stdout': '[       OK ] t1\n',
              'stderr': '[  SKIPPED ] t2\n[  SKIPPED ] 1 test(s), listed below:\n'
              '[  SKIPPED ] t2\n'}

# name, shell command, meson log, (passed, failed, skipped)
CASES = [
    ('exit code 0', 'true', None, (1, 0, 0)),
    ('exit code 3', 'exit 3', None, (0, 1, 0)),
    ('killed', 'kill -9 $$', None, (0, 1, 0)),
    ('too slow', 'sleep 30', None, (0, 1, 0)),
    ('too slow, after a summary', 'echo 5 passed, 0 failed; sleep 30', None, (0, 1, 0)),
    ('TAP', r'printf "1..3\nok 1 - a\nnot ok 2 - b\nok 3 # SKIP c\n"', None, (1, 1, 1)),
    ('TAP, fewer than planned', r'printf "1..3\nok 1\nok 2\n"', None, (2, 1, 0)),
    ('TAP, then dead', r'printf "1..1\nok 1\n"; exit 3', None, (1, 1, 0)),
    ('TAP, nested', r'printf "    not ok 1 - x # TODO\n1..1\nok 1\n"', None, (1, 0, 0)),
    ('node', r'printf "TAP version 13\nok 1 - file\n1..1\n# tests 4\n# pass 3\n# fail 1\n'
     r'# cancelled 0\n# skipped 0\n"; exit 1', None, (3, 1, 0)),
    ('summary', r'printf "noise\n7 passed, 0 failed\n"', None, (7, 0, 0)),
    ('summary, then dead', r'printf "7 passed, 0 failed\n"; exit 1', None, (7, 1, 0)),
    ('summary, not last', r'printf "7 passed, 0 failed\nSegmentation fault\n"; exit 139',
     None, (0, 1, 0)),
    ('meson, cases', 'true', [MESON_OK, MESON_BAD], (3, 1, 0)),
    ('meson, died before its first case', 'exit 1',
     [{'name': 'c', 'result': 'ERROR', 'stdout': '', 'stderr': ''}], (0, 1, 0)),
    ('meson, skipped', 'true', [{'name': 'c', 'result': 'SKIP'}], (0, 0, 1)),
    ('meson, one case skipped', 'true', [MESON_PART], (1, 0, 1)),
    ('meson, no log', 'exit 1', 'absent', (0, 1, 0)),
]

for name, command, meson, want in CASES:
    with tempfile.TemporaryDirectory() as top:
        results, log = os.path.join(top, 'results'), os.path.join(top, 'log')
        options = []
        if meson is not None:
            options = ['--meson', os.path.join(top, 'testlog.json')]
        if isinstance(meson, list):
            with open(options[1], 'w', encoding='utf-8') as f:
                f.writelines(json.dumps(entry) + '\n' for entry in meson)
        run = subprocess.run(
            [sys.executable, '-B', RUN, name, log, results,
             '1' if 'slow' in name else '20', *options, '--', 'sh', '-c', command],
            capture_output=True, text=True, check=False)
        with open(results, encoding='utf-8') as f:
            got = json.loads(f.read())
        got = (got['passed'], got['failed'], got['skipped'])
        if got != want or run.returncode != (1 if want[1] else 0):
            sys.exit(f'{name}: expected {want}, got {got}, '
                     f'exit {run.returncode}\n{run.stderr}')
print(f'{len(CASES)} cases')
