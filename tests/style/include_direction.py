#!/usr/bin/env python3
"""Who may include whom: usage: include_direction.py ROOT

The arrows between modules, and which files alone may see a third party's
header. Files of tests and benchmarks may include any module of ours. A
header that is in no module (a new folder) is an error here: give it a row.
"""
import fnmatch
import re
import sys

from tree import c_files, finish, is_test, read

# The first pattern that fits a file names its module; order matters.
MODULES = [
    ('core', 'core/*'),
    ('http', 'http/*'),
    ('supabase', 'supabase/*'),
    ('expr', 'worker/expr/*'),
    ('flow', 'worker/flow/*'),
    ('engine', 'worker/engine/*'),
    ('rule', 'monitor/rule/*'),
    ('monitor', 'monitor/*'),
    ('sql', 'realtime/realtime-sql.h'),
    ('wire', 'realtime/wire/*'),
    ('server', 'realtime/server/*'),
    ('follow', 'realtime/follow/*'),
    ('limit', 'realtime/limit/*'),
    ('identity', 'realtime/identity/*'),
    ('intake', 'realtime/intake/*'),
    ('stream', 'realtime/stream/*'),
    ('lines', 'realtime/lines/*'),
    ('local', 'realtime/local/*'),
    ('gateway', 'realtime/*'),
    ('cli', 'cli/*'),
    ('tests', 'tests/*'),
    ('tests', 'bench/*'),
]
# A module may always include itself. engine, gateway, monitor never each other.
MAY_INCLUDE = {
    'core': set(),
    'http': {'core'},
    'supabase': {'core', 'http'},
    'expr': {'core'},
    'flow': {'core', 'expr'},
    'wire': {'core'},
    'server': {'core', 'wire'},
    'follow': {'core', 'wire', 'server'},
    'rule': {'core'},
    'engine': {'core', 'http', 'supabase', 'flow', 'expr'},
    'limit': {'core', 'supabase', 'sql'},
    'identity': {'core', 'supabase', 'sql', 'wire', 'server'},
    'intake': {'core', 'http', 'supabase', 'flow', 'expr', 'sql', 'wire',
               'server', 'limit'},
    'stream': {'core', 'supabase', 'sql', 'wire', 'server', 'identity'},
    'lines': {'core', 'supabase', 'sql', 'wire', 'server', 'identity', 'limit'},
    'local': {'core', 'supabase', 'sql', 'wire', 'server'},
    'gateway': {'core', 'http', 'supabase', 'flow', 'expr', 'sql', 'wire',
                'server', 'limit', 'identity', 'intake', 'stream', 'lines',
                'local'},
    'monitor': {'core', 'http', 'supabase', 'rule', 'follow'},
    'cli': {m for m, _ in MODULES} - {'tests'},
}
# The library behind each is known to these files and to nobody else.
CONFINED = {
    'uv.h': ['core/loop.*', 'core/loop_*.*'],
    'libpq-fe.h': ['supabase/client/db*'],
    'curl/*': ['http/*'],
    'libwebsockets.h': ['realtime/server/*', 'realtime/follow/client.c'],
    'cmocka.h': ['core/test.h'],
    'zlib.h': ['monitor/part.c', 'http/test-*'],
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def module_of(path):
    return next((m for m, pattern in MODULES
                 if fnmatch.fnmatch(path, pattern)), None)


def check_ours(path, target):
    here, there = module_of(path), module_of(target)
    if there is None:
        return f'"{target}" is in no known module; write paths from the root'
    if is_test(path) or here == there or there in MAY_INCLUDE[here]:
        return None
    return f'{here} may not include {there} ("{target}")'


def check_theirs(path, target):
    for pattern, allowed in CONFINED.items():
        if fnmatch.fnmatch(target, pattern) and \
                not any(fnmatch.fnmatch(path, a) for a in allowed) and \
                not is_test(path):
            return f'<{target}> is confined to {", ".join(allowed)}'
    return None


def own_header_first(path, includes, files):
    own = path[:-2] + '.h'
    if path.endswith('.c') and own in files and \
            (not includes or includes[0] != ('"', own)):
        return f'include "{own}" first'
    return None


def main(root):
    problems = []
    files = c_files(root)
    known = set(files)
    for path in files:
        if module_of(path) is None:
            problems.append(f'{path}: in no known module')
            continue
        text = read(root, path)
        includes = [m.groups() for m in INCLUDE.finditer(text)]
        # "name.h" without a slash is generated (embedded SQL, version).
        found = [check_ours(path, t) if kind == '"' and '/' in t
                 else check_theirs(path, t) for kind, t in includes]
        found.append(own_header_first(path, includes, known))
        problems += [f'{path}: {p}' for p in found if p]
    finish(problems, len(files))


main(sys.argv[1])
