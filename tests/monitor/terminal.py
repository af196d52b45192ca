#!/usr/bin/env python3
"""Run a command on a terminal of its own: terminal.py COLUMNS ROWS COMMAND...

What it writes goes to stdout as it comes. Lines on stdin are what happens to it:
    type TEXT       keys
    size COLS ROWS  the window changes
    signal NAME     to its process group
The last line on stderr is JSON: how it ended, and whether the terminal's
settings are what they were.
"""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios


def resize(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def happen(line, fd, pid):
    what, _, rest = line.partition(" ")
    if what == "type":
        os.write(fd, rest.encode().decode("unicode_escape").encode())
    elif what == "size":
        resize(fd, *map(int, rest.split()))
    elif what == "signal":
        os.killpg(pid, getattr(signal, rest))


def main():
    columns, rows, *command = sys.argv[1:]
    leader, follower = pty.openpty()
    resize(leader, int(columns), int(rows))
    before = termios.tcgetattr(follower)
    pid = os.fork()
    if pid == 0:
        os.close(leader)
        os.login_tty(follower) if hasattr(os, "login_tty") else login(follower)
        os.execvp(command[0], command)
    pending = b""
    inputs = [leader, 0]
    status = None
    while status is None or select.select([leader], [], [], 0.1)[0]:
        ready, _, _ = select.select(inputs, [], [], 0.05)
        if leader in ready:
            sys.stdout.buffer.write(os.read(leader, 65536))
            sys.stdout.buffer.flush()
        if 0 in ready:
            data = os.read(0, 4096)
            if not data:
                inputs.remove(0)
            pending += data
            while b"\n" in pending:
                line, _, pending = pending.partition(b"\n")
                happen(line.decode(), leader, pid)
        if status is None:
            done, code = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(code):
                print("stopped", file=sys.stderr, flush=True)
            elif done:
                status = os.waitstatus_to_exitcode(code)
    print(json.dumps({"status": status,
                      "restored": termios.tcgetattr(follower) == before}),
          file=sys.stderr)


def login(fd):
    os.setsid()
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    for n in range(3):
        os.dup2(fd, n)
    if fd > 2:
        os.close(fd)


main()
