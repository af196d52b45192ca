#!/usr/bin/env python3
"""Add up what run.py counted: usage: total.py RESULTS. Exits 1 on a failure."""
import json
import sys

passed = failed = skipped = 0
with open(sys.argv[1], encoding='utf-8') as results:
    for entry in map(json.loads, results):
        passed += entry['passed']
        failed += entry['failed']
        skipped += entry['skipped']
        for name in entry['names']:
            print(f'failed: {entry["label"]}: {name}')
if skipped:
    print(f'{skipped} skipped (their output says why)')
print(f'{passed} passed, {failed} failed')
sys.exit(1 if failed or not passed else 0)
