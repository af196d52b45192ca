#!/usr/bin/env python3
"""Purity: usage: nm_denies.py ARCHIVE...

A pure archive computes what follows from what it is given. So it may not
refer to a clock, the heap (its memory comes from the arena it is handed), the
environment, a descriptor, randomness, the log, or a library that has them.
Exits 1 and names the object file that needs a denied symbol.
"""
import re
import subprocess
import sys

DENIED = [
    # clocks
    r'time', r'times', r'clock', r'clock_gettime', r'gettimeofday',
    r'nanosleep', r'sleep', r'usleep', r'localtime(_r)?', r'mktime',
    r'time_wall_ms', r'time_mono_[mu]s',
    # the heap, also by way of core
    r'malloc', r'calloc', r'realloc', r'reallocarray', r'free', r'strn?dup',
    r'v?asprintf', r'__v?asprintf_chk', r'getline', r'posix_memalign',
    r'aligned_alloc', r'open_memstream', r'xmalloc', r'xcalloc', r'xrealloc',
    r'xstrdup',
    # the environment, descriptors, processes, threads
    r'(secure_)?getenv', r'setenv', r'environ', r'open(64)?', r'openat',
    r'read', r'__read_chk', r'write', r'close', r'fopen(64)?', r'fread',
    r'fwrite', r'f?printf', r'__f?printf_chk', r'puts', r'putchar', r'fputs',
    r'stdin', r'stdout', r'stderr', r'perror', r'ioctl', r'fcntl(64)?',
    r'socket', r'connect', r'send', r'sendto', r'recv', r'recvfrom', r'poll',
    r'select', r'epoll_\w+', r'getaddrinfo', r'mmap(64)?', r'fork', r'execv\w*',
    r'kill', r'raise', r'signal', r'sigaction', r'getpid', r'pthread_create',
    # randomness, the locale
    r'rand(_r)?', r'random', r'[dlm]rand48', r'getrandom', r'getentropy',
    r'arc4random\w*', r'setlocale',
    # the log, the loop, and libraries
    r'log_\w+', r'loop_\w+', r'PQ\w+', r'pq_\w+', r'curl_\w+', r'uv_\w+',
    r'lws_\w+', r'SSL_\w+', r'RAND_\w+', r'EVP_\w+',
]
DENIED_RE = re.compile('^(' + '|'.join(DENIED) + ')$')


def undefined(archive):
    """Yield (object, symbol) of each undefined symbol in the archive."""
    # gcc-nm also reads the objects of an LTO build.
    for nm in ('gcc-nm', 'nm'):
        try:
            out = subprocess.run([nm, '--undefined-only', archive], text=True,
                                 capture_output=True, check=True).stdout
            break
        except FileNotFoundError:
            continue
    else:
        sys.exit('neither gcc-nm nor nm is installed')
    member = archive
    for line in out.splitlines():
        if line.endswith(':'):
            member = line[:-1]
        elif line.split():
            yield member, line.split()[-1].split('@')[0]


def main(archives):
    denied, members = [], set()
    for archive in archives:
        for member, symbol in undefined(archive):
            members.add(member)
            if DENIED_RE.match(symbol):
                denied.append(f'{archive}: {member} needs {symbol}')
    for line in sorted(set(denied)):
        print(line)
    if denied:
        sys.exit(1)
    if not members:
        sys.exit('no undefined symbol at all: is this the right archive?')
    print(f'{len(members)} objects, nothing denied')


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(sys.argv[1:])
