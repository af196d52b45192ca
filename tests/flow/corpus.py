#!/usr/bin/env python3
"""Parser and schema against the corpus: usage: corpus.py FLOW_CLI ROOT

valid/*.json, the examples and the examples in docs/workflows.md are accepted by
both. invalid/NAME.json is refused by the parser with exactly the lines of
invalid/NAME.expect, "POINTER: TEXT | HINT"; the schema refuses it too, unless
the first line there is "# the schema can't say it".
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema

CANT_SAY = "# the schema can't say it"


def problems_of(cli, files):
    """{file: ["POINTER: TEXT | HINT"]} as the parser tells them."""
    out = subprocess.run([cli, 'check', *files], check=True, text=True,
                         capture_output=True).stdout
    told = {}
    for line in out.splitlines():
        one = json.loads(line)
        told[one['file']] = [f'{p}: {t}' + (f' | {h}' if h else '')
                             for p, t, h in one['problems']]
    return told


def wrapped(node):
    """A definition around one node: what it refers to comes before it."""
    if node['type'] in ('webhook', 'manual'):
        return {'name': 'example', 'nodes': [node]}
    nodes = [
        {'id': 'hook', 'type': 'webhook'},
        {'id': 'clean', 'type': 'transform', 'expression': 'input'},
        {'id': 'crm', 'type': 'http_call', 'url': 'https://api.example.com/'},
    ]
    nodes = [n for n in nodes if n['id'] != node['id']]
    edges = [{'from': a['id'], 'to': b['id']}
             for a, b in zip(nodes, nodes[1:] + [node])]
    for case in node.get('cases', []):
        nodes.append({'id': 'on_' + case['name'], 'type': 'log',
                      'message': case['name']})
        edges.append({'from': node['id'], 'to': 'on_' + case['name'],
                      'on': case['name']})
    return {'name': 'example', 'nodes': nodes + [node], 'edges': edges}


def documented(root, folder):
    """The ```json blocks of docs/workflows.md, as files in a folder."""
    with open(os.path.join(root, 'docs/workflows.md'), encoding='utf-8') as f:
        blocks = re.findall(r'^```json\n(.*?)^```', f.read(), re.S | re.M)
    types = set()
    for i, block in enumerate(blocks):
        value = json.loads(block)
        types |= {n['type'] for n in value.get('nodes', [value])}
        if 'nodes' not in value:
            value = wrapped(value)
        path = os.path.join(folder, f'block-{i + 1}.json')
        with open(path, 'w', encoding='utf-8') as f:
            json.dump(value, f)
        yield path
    missing = {'webhook', 'manual', 'transform', 'branch', 'http_call',
               'delay', 'log', 'terminate'} - types
    assert not missing, f'docs/workflows.md shows no {missing}'


def main():
    cli, root = sys.argv[1:]
    here = os.path.join(root, 'tests/flow')
    with open(os.path.join(root, 'docs/workflow.schema.json'),
              encoding='utf-8') as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    failed = []

    def by_schema(path):
        with open(path, encoding='utf-8') as f:
            return [e.message[:200]
                    for e in validator.iter_errors(json.load(f))]

    with tempfile.TemporaryDirectory() as folder:
        valid = sorted(glob.glob(here + '/valid/*.json')
                       + glob.glob(root + '/examples/*.json'))
        valid += documented(root, folder)
        for path, told in problems_of(cli, valid).items():
            for why in told + by_schema(path):
                failed.append(f'{path} is refused: {why}')

    invalid = sorted(glob.glob(here + '/invalid/*.json'))
    for path, told in problems_of(cli, invalid).items():
        with open(path[:-5] + '.expect', encoding='utf-8') as f:
            want = f.read().splitlines()
        cant_say = want[0] == CANT_SAY
        if told != want[cant_say:]:
            failed.append('\n  '.join([f'{path} must tell:', *want[cant_say:],
                                       'but tells:', *told]))
        if bool(by_schema(path)) == cant_say:
            failed.append(f'{path}: the schema '
                          + ('refuses it' if cant_say else 'accepts it'))
    for line in failed:
        print(line)
    print(f'{len(valid)} valid, {len(invalid)} invalid definitions')
    return 1 if failed or not invalid else 0


if __name__ == '__main__':
    sys.exit(main())
