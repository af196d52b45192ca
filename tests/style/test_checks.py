#!/usr/bin/env python3
"""The checks find what they look for: usage: test_checks.py [STYLE_DIR]

Each case is a tiny tree and the words its report must hold; '' means clean.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

TREES = [
    ('include_direction', {'core/a.c': '#include "http/b.h"\n'},
     'core may not include http'),
    ('include_direction', {'worker/flow/a.c': '#include "supabase/client/db.h"\n'},
     'flow may not include supabase'),
    ('include_direction', {'worker/engine/a.c': '#include "realtime/x.h"\n'},
     'engine may not include gateway'),
    ('include_direction', {'http/a.c': '#include <uv.h>\n'}, '<uv.h> is confined'),
    ('include_direction', {'core/a.c': '# include <curl/curl.h>\n'},
     '<curl/curl.h> is confined'),
    ('include_direction', {'core/a.h': '', 'core/a.c': '#include <time.h>\n'},
     'include "core/a.h" first'),
    ('include_direction', {'odd/a.c': ''}, 'in no known module'),
    ('include_direction', {'core/loop.c': '#include <uv.h>\n',
                           'worker/engine/a.c': '#include "worker/flow/f.h"\n'}, ''),
    ('banned_calls', {'core/a.c': 'int f(char *s)\n{ return atoi (s); }\n'},
     'core/a.c:2: atoi() is banned'),
    ('banned_calls', {'core/a.c': '/* FIX' + 'ME later */\n'}, 'unfinished work'),
    ('banned_calls', {'core/a.c': '\n' * 601}, '601 lines'),
    ('banned_calls', {'core/a.c': '/* no strcpy() */\nf("system(1)", my_gets(), '
                                  'x->system(1));\n'}, ''),
]
SOURCES = [
    ('#include <time.h>\nlong f(void) { return time(0); }\n', 'needs time'),
    ('#include <stdlib.h>\nvoid *f(void) { return malloc(3); }\n', 'needs malloc'),
    ('int PQstatus(void); int f(void) { return PQstatus(); }\n', 'needs PQstatus'),
    ('#include <math.h>\nextern int arena_alloc(void);\n'
     'double f(double x) { return log2(x) + arena_alloc(); }\n', ''),
]


def expect(what, result, words):
    said = result.stdout + result.stderr
    ok = words in said and result.returncode == 1 if words \
        else result.returncode == 0
    if not ok:
        sys.exit(f'{what}: expected {words or "no complaint"!r}, '
                 f'exit {result.returncode}:\n{said}')


def run(script, *args):
    return subprocess.run([sys.executable, os.path.join(HERE, script + '.py'),
                           *args], text=True, capture_output=True, check=False)


def check_tree(script, files, words):
    with tempfile.TemporaryDirectory() as top:
        for path, text in files.items():
            full = os.path.join(top, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(text)
        expect(f'{script} {files}', run(script, top), words)


def check_archive(source, words):
    with tempfile.TemporaryDirectory() as top:
        obj, lib = os.path.join(top, 'a.o'), os.path.join(top, 'a.a')
        subprocess.run(['cc', '-x', 'c', '-c', '-o', obj, '-'], input=source,
                       text=True, check=True)
        subprocess.run(['ar', 'rc', lib, obj], check=True)
        expect(f'nm_denies {source}', run('nm_denies', lib), words)


for case in TREES:
    check_tree(*case)
for case in SOURCES:
    check_archive(*case)
print(f'{len(TREES) + len(SOURCES)} cases')
