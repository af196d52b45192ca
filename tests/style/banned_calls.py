#!/usr/bin/env python3
"""Calls and words that have no place here: usage: banned_calls.py ROOT

Calls that overflow, keep hidden state, or start a shell; comments that say
the work is not done; files longer than 600 lines.
"""
import re
import sys

from tree import c_files, code_only, finish, read

BANNED = {
    'strcpy': 'str_copy into an arena, or snprintf',
    'strcat': 'a struct buf', 'strncat': 'a struct buf',
    'sprintf': 'snprintf', 'vsprintf': 'vsnprintf', 'gets': 'fgets',
    'strtok': 'a loop over struct str', 'strtok_r': 'a loop over struct str',
    'atoi': 'strtol with checks', 'atol': 'strtol with checks',
    'atoll': 'strtoll with checks', 'atof': 'strtod with checks',
    'localtime': 'time_format: the program knows UTC only',
    'localtime_r': 'time_format: the program knows UTC only',
    'ctime': 'time_format', 'asctime': 'time_format',
    'system': 'nothing: no shell is ever started',
    'popen': 'nothing: no shell is ever started',
    'alloca': 'an arena', 'tmpnam': 'mkstemp', 'mktemp': 'mkstemp',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')
UNDONE = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
MAX_LINES = 600


def problems_of(path, text):
    found = []
    for number, line in enumerate(code_only(text).splitlines(), 1):
        for m in CALL.finditer(line):
            found.append(f'{path}:{number}: {m[1]}() is banned; '
                         f'use {BANNED[m[1]]}')
    for number, line in enumerate(text.splitlines(), 1):
        if UNDONE.search(line):
            found.append(f'{path}:{number}: unfinished work: {line.strip()}')
    lines = text.count('\n')
    if lines > MAX_LINES:
        found.append(f'{path}: {lines} lines, more than {MAX_LINES}: split it')
    return found


def main(root):
    problems = []
    files = c_files(root)
    for path in files:
        problems += problems_of(path, read(root, path))
    finish(problems, len(files))


main(sys.argv[1])
