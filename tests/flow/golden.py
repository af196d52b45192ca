#!/usr/bin/env python3
"""Golden histories: usage: golden.py FLOW_CLI FOLDER

Each decides itself again. And the check can fail: with any one event taken out,
the history does not, and without its end only where a fact was last.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile


def replay(cli, files):
    out = subprocess.run([cli, 'replay', *files], check=True, text=True,
                         capture_output=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def main():
    cli, folder = sys.argv[1:]
    files = sorted(glob.glob(folder + '/*.json'))
    bad = [r for r in replay(cli, files) if not r['ok']]
    for r in bad:
        print(f"{r['file']}: event {r['seq']} {r['text']}")
    with tempfile.TemporaryDirectory() as tmp:
        broken = []
        for path in files:
            with open(path, encoding='utf-8') as f:
                history = json.load(f)
            for i in range(len(history['events']) - 1):
                name = f'{tmp}/{os.path.basename(path)}-without-{i + 1}'
                events = history['events'][:i] + history['events'][i + 1:]
                with open(name, 'w', encoding='utf-8') as f:
                    json.dump({**history, 'events': events}, f)
                broken.append(name)
        for r in replay(cli, broken):
            if r['ok']:
                bad.append(r)
                print(f"{r['file']}: not noticed")
    print(f'{len(files)} histories, {len(broken)} broken ones')
    return 1 if bad or not files else 0


if __name__ == '__main__':
    sys.exit(main())
