#!/usr/bin/env python3
"""Hold the gateway against docs/openapi.yaml.

Every route in realtime/ is documented and every documented one is routed.
Every documented answer is really asked for, and what comes is held against its
status, content type, required headers and schema; any other status is refused.
What can't be made to happen here is in ELSEWHERE, with the test that does.
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import uuid

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOC = yaml.safe_load((ROOT / 'docs/openapi.yaml').read_text())
SLUG = f'openapi-{os.getpid()}'
# Documented answers that other tests bring about.
ELSEWHERE = {
    ('post', '/api/logs/publish', '409'): 'tests/integration/publish.test.mjs',
    ('post', '/hooks/{project}/{endpoint}', '409'): 'tests/integration/gateway.test.mjs',
    ('post', '/hooks/{project}/{endpoint}', '429'): 'tests/integration/gateway.test.mjs',
    ('get', '/api/logs/stream', '204'): 'tests/integration/stream.test.mjs',
    ('get', '/api/logs/stream', '422'): 'tests/integration/stream.test.mjs',
    ('get', '/api/logs/stream', '429'): 'tests/integration/stream.test.mjs',
    ('post', '/api/logs/stream/{id}/channels', '429'): 'tests/integration/stream.test.mjs',
    ('get', '/realtime/v1/websocket', '101'): 'tests/integration/realtime.test.mjs',
    ('get', '/realtime/v1/websocket', 'default'): 'tests/integration/realtime.test.mjs',
    ('get', '/realtime/v1/faults', 'default'): 'tests/integration/realtime.test.mjs',
    ('post', '/realtime/v1/faults', 'default'): 'tests/integration/realtime.test.mjs',
}
passed, failed = 0, 0
seen = set()


def check(what, ok, why=''):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f'not ok: {what}\n  | {why}')


def resolve(node):
    while isinstance(node, dict) and '$ref' in node:
        target = DOC
        for part in node['$ref'].removeprefix('#/').split('/'):
            target = target[part]
        node = target
    return node


def valid(schema, value):
    schema = {**schema, 'components': DOC['components']}
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.FormatChecker())
    return '; '.join(f'{list(e.absolute_path)}: {e.message[:200]}'
                     for e in validator.iter_errors(value))


def psql(query):
    out = subprocess.run(['psql', os.environ['SUPABASE_DB_URL'], '-XqAt', '-v',
                          'ON_ERROR_STOP=1', '-c', query],
                         capture_output=True, text=True, check=True)
    return out.stdout.strip()


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b'=').decode()


def jwt(**claims):
    text = '.'.join(b64(json.dumps(x).encode()) for x in (
        {'alg': 'HS256', 'typ': 'JWT'},
        {'exp': int(time.time()) + 600, **claims}))
    mac = hmac.new(os.environ['SUPABASE_JWT_SECRET'].encode(), text.encode(),
                   hashlib.sha256).digest()
    return f'{text}.{b64(mac)}'


class Gateway:
    def __init__(self, **env):
        self.process = subprocess.Popen(
            [os.environ['MESHHOOK_BIN'], 'gateway'], stderr=subprocess.PIPE,
            text=True, env={**os.environ, 'MESHHOOK_GATEWAY_PORT': '0',
                            'MESHHOOK_LOG_FORMAT': 'json',
                            'MESHHOOK_LOCAL_REALTIME': '',
                            'MESHHOOK_PROJECT': SLUG, **env})
        for line in self.process.stderr:
            if '"gateway.listening"' in line:
                self.port = json.loads(line)['port']
            if '"gateway.ready"' in line or 'NOT_READY' in env:
                return
        raise RuntimeError('no gateway')

    def end(self):
        self.process.terminate()
        self.process.stderr.read()
        check('the gateway ends in order', self.process.wait(20) == 0)

    def send(self, method, path, headers=None, body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=20)
        c.request(method.upper(), path, body=body, headers=headers or {})
        r = c.getresponse()
        got = {k.lower(): v for k, v in r.getheaders()}
        if 'event-stream' in got.get('content-type', '') and r.status == 200:
            text = b''
            while not text.endswith(b'\n\n') or b'event: ' not in text:
                text += r.fp.readline()
            self.stream = c, r # stays open
            return r.status, got, text
        out = r.status, got, r.read()
        c.close()
        return out


def operation_of(method, path):
    path = path.split('?')[0]
    for pattern, item in DOC['paths'].items():
        if re.fullmatch(re.sub(r'{\w+}', '[^/]+', pattern), path) and method in item:
            return pattern, item[method]
    raise KeyError(f'{method} {path} is not documented')


def header_problem(headers, spec):
    for name, h in spec.get('headers', {}).items():
        h = resolve(h)
        got = headers.get(name.lower())
        if got is None and h.get('required'):
            return f'there is no {name}'
        if got is not None and valid(h['schema'], got):
            return f'{name}: {valid(h["schema"], got)}'
    return ''


def body_problem(headers, body, spec):
    kind = headers.get('content-type', '').split(';')[0]
    content = spec.get('content', {})
    if not content and not body:
        return ''
    if kind not in content:
        return f'"{kind}" is not documented'
    schema = content[kind].get('schema', {})
    return valid(schema, json.loads(body) if kind.endswith('json') and 'nd' not in kind
                 else body.decode())


def ask(gateway, method, path, want, token=None, headers=None, body=None):
    """One request whose answer must be documented, and be `want`."""
    h = dict(headers or {})
    if token:
        h['Authorization'] = f'Bearer {token}'
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
        h.setdefault('Content-Type', 'application/json')
    status, got, text = gateway.send(method, path, h, body)
    pattern, operation = operation_of(method, path)
    what = f'{method} {path[:60]} {want}'
    spec = operation['responses'].get(str(status))
    if status != want or spec is None:
        check(what, False, f'{status} {text[:300]!r}')
        return text
    seen.add((method, pattern, str(status)))
    spec = resolve(spec)
    why = header_problem(got, spec) or body_problem(got, text, spec)
    check(what, not why, why)
    return text


def routes():
    found = set()
    for file in (ROOT / 'realtime').rglob('*.c'):
        if file.name.startswith('test-'):
            continue
        for method, pattern in re.findall(
                r'\.method\s*=\s*"(\w+)",\s*\.pattern\s*=\s*"([^"]+)"', file.read_text()):
            found.add((method.lower(), pattern))
    return found


def check_routes():
    documented = {(m, p) for p, item in DOC['paths'].items() for m in item}
    check('routes were found', len(routes()) >= 8)
    check('every route is documented', routes() <= documented, routes() - documented)
    check('every documented path is a route', documented <= routes(), documented - routes())


def publish(g, owner, outsider, service):
    path = '/api/logs/publish'
    at = {'workflow_id': 'wf', 'workspace_id': SLUG, 'service': 'etl'}
    good = {**at, 'logData': {'message': 'm', 'level': 'warn', 'a': 1}, 'id': 'k'}
    entry = DOC['paths'][path]['post']['requestBody']['content']['application/json']['schema']
    for body in (good, [good, {'logData': 'text'}], {'logData': ['a', {'msg': 'b'}]}):
        check('what is accepted is what is documented', not valid(entry, body), valid(entry, body))
        ask(g, 'post', path, 200, service, body=body)
    ask(g, 'post', path, 200, service, {'Content-Type': 'application/x-ndjson'},
        json.dumps(good) + '\n' + json.dumps(good))
    for want, body in ((400, '{'), (422, {}), (403, {**at, 'service': 'other', 'logData': 'm'}),
                       (404, {'run_id': str(uuid.uuid4()), 'logData': 'm'}),
                       (413, {'logData': 'x' * 70000}), (413, b'x' * 1100000)):
        ask(g, 'post', path, want, service, {'Content-Type': 'application/json'}, body)
    ask(g, 'post', path, 415, service, {'Content-Type': 'text/plain'}, 'm')
    ask(g, 'post', path, 401, None, body=good)
    ask(g, 'post', path, 401, 'mhs_x', body=good)
    ask(g, 'post', path, 403, owner, body=good)


def history(g, owner, outsider, service):
    path = f'/api/logs?channels=logs:etl:{SLUG}:*,logs:etl:{SLUG}:wf'
    for more in ('', '&limit=1', '&format=csv', '&format=ndjson', '&level=warn&q=m&attr.a=1'):
        ask(g, 'get', path + more, 200, owner)
    ask(g, 'get', '/api/logs', 400, owner)
    ask(g, 'get', path, 401)
    ask(g, 'get', path, 403, service)
    ask(g, 'get', path, 403, jwt(role='anon'))
    ask(g, 'get', path, 404, outsider)
    ticket = '/api/logs/stream/ticket'
    ask(g, 'post', ticket, 201, owner)
    ask(g, 'post', ticket, 401)
    ask(g, 'post', ticket, 403, service)


def streams(g, owner, outsider, service):
    path = f'/api/logs/stream?channels=logs:etl:{SLUG}:wf,logs:etl:{SLUG}:*'
    ready = ask(g, 'get', path + '&tail=1', 200, owner)
    opened, name = g.stream, re.search(rb'"stream":"([^"]+)"', ready).group(1).decode()
    ticket = json.loads(ask(g, 'post', '/api/logs/stream/ticket', 201, owner))['ticket']
    ask(g, 'get', f'{path}&ticket={ticket}', 200)
    g.stream[0].close()
    ask(g, 'get', '/api/logs/stream?channels=x', 400, owner)
    ask(g, 'get', path, 401)
    ask(g, 'get', path, 403, service)
    ask(g, 'get', path, 404, outsider)
    for i in range(0, 51, 50):
        ask(g, 'post', '/api/logs/publish', 200, service,
            body=[{'resource_id': f'r{k}', 'logData': 'm'} for k in range(i, min(51, i + 50))])
    names = ','.join(f'logs:etl:{SLUG}:r{i}' for i in range(51))
    ask(g, 'get', f'/api/logs/stream?channels={names}', 400, owner)
    ask(g, 'get', f'/api/logs?channels={names}', 400, owner)
    for _ in range(1200): # until it hears the other gateways
        if g.send('post', f'/api/logs/stream/{uuid.uuid4()}/token',
                  {'Authorization': f'Bearer {owner}'})[0] == 202:
            break
        time.sleep(0.05)
    for kind, body in (('token', None), ('channels', {'add': [], 'remove': [f'logs:etl:{SLUG}:*']})):
        at = f'/api/logs/stream/{name}/{kind}'
        ask(g, 'post', at, 200, owner, body=body)
        ask(g, 'post', at, 401, body=body)
        ask(g, 'post', at, 403, service, body=body)
        ask(g, 'post', at, 404, outsider, body=body)
        ask(g, 'post', f'/api/logs/stream/{uuid.uuid4()}/{kind}', 202, owner, body=body)
    ask(g, 'post', f'/api/logs/stream/{name}/channels', 422, owner,
        body={'add': [f'logs:etl:{SLUG}:r{i}' for i in range(50)]})
    ask(g, 'post', f'/api/logs/stream/{name}/channels', 400, owner, body='{')
    opened[0].close()


def operation(g, owner, outsider, service):
    for path in ('/health', '/livez', '/readyz', '/metrics'):
        ask(g, 'get', path, 200)
    stats = '/admin/logs/stats'
    ask(g, 'get', stats, 200, owner)
    ask(g, 'get', stats, 200, jwt(role='service_role'))
    ask(g, 'get', stats, 401)
    ask(g, 'get', stats, 403, outsider)


def webhook(g, secret, body, want, **change):
    at, name = str(int(time.time())), str(uuid.uuid4())
    mac = hmac.new(base64.b64decode(secret.removeprefix('whsec_')),
                   f'{name}.{at}.{body}'.encode(), hashlib.sha256).digest()
    headers = {'Content-Type': 'application/json', 'webhook-id': name, 'webhook-timestamp': at,
               'webhook-signature': 'v1,' + base64.b64encode(mac).decode(), **change}
    path = f'/hooks/{SLUG}/{change.pop("endpoint", "in")}'
    ask(g, 'post', path, want, headers={k: v for k, v in headers.items() if k != 'endpoint'},
        body=body)
    return headers, path


def webhooks(g, secret):
    headers, path = webhook(g, secret, '{"a": 1}', 202)
    ask(g, 'post', path, 202, headers=headers, body='{"a": 1}')
    webhook(g, secret, '{', 400)
    webhook(g, secret, '{}', 401, **{'webhook-timestamp': '1'})
    webhook(g, secret, '{}', 404, endpoint='none')
    webhook(g, secret, 'x' * 2000000, 413)
    webhook(g, secret, '{}', 415, **{'Content-Type': 'application/cbor'})
    webhook(g, secret, '{"a": "\\u0000"}', 422)


def limited(owner, service):
    """Where rates are exceeded."""
    g = Gateway(MESHHOOK_PUBLISH_RATE='1', MESHHOOK_USER_RATE='1')
    for _ in range(2):
        ask(g, 'post', '/api/logs/publish', 200, service, body={'logData': 'm'})
    ask(g, 'post', '/api/logs/publish', 429, service, body={'logData': 'm'})
    path = f'/api/logs?channels=logs:etl:{SLUG}:wf'
    for _ in range(2):
        ask(g, 'get', path, 200, owner)
    ask(g, 'get', path, 429, owner)
    g.end()


def away(owner, service):
    """Where there is no database, and no key to be had."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        nowhere = s.getsockname()[1]
    g = Gateway(MESHHOOK_GATEWAY_DB_URL=f'postgresql://u@127.0.0.1:{nowhere}/x', NOT_READY='1',
                MESHHOOK_JWKS_URL=f'http://127.0.0.1:{nowhere}/keys')
    token = '.'.join((b64(b'{"alg":"ES256","kid":"x"}'), b64(b'{}'), b64(b'0' * 64)))
    for path in ('/health', '/readyz'):
        ask(g, 'get', path, 503)
    ask(g, 'post', '/api/logs/stream/ticket', 503, token)
    ask(g, 'get', f'/api/logs?channels=logs:etl:{SLUG}:wf', 503, owner)
    ask(g, 'get', '/admin/logs/stats', 503, owner)
    ask(g, 'get', f'/api/logs/stream?channels=logs:etl:{SLUG}:wf', 503, owner)
    for kind in ('token', 'channels'):
        ask(g, 'post', f'/api/logs/stream/{uuid.uuid4()}/{kind}', 503, token, body={})
    ask(g, 'post', '/api/logs/publish', 503, service, body={'logData': 'm'})
    webhook(g, 'whsec_' + base64.b64encode(b'x' * 32).decode(), '{}', 503)
    g.end()


def check_all_seen():
    for path, item in DOC['paths'].items():
        for method, op in item.items():
            for status in op['responses']:
                key = (method, path, status)
                if key in ELSEWHERE:
                    check(f'{key}: {ELSEWHERE[key]}', (ROOT / ELSEWHERE[key]).exists(), 'gone')
                else:
                    check(f'{key} was asked for', key in seen, 'no request brought it about')


def main():
    check_routes()
    users = [str(uuid.uuid4()) for _ in range(2)]
    psql(f"select meshhook.create_project('{SLUG}', 'x', '{users[0]}')")
    owner, outsider = (jwt(sub=u, role='authenticated') for u in users)
    service = psql(f"select token from meshhook.create_service_token('{SLUG}', 'etl')")
    flow = pathlib.Path(f'/tmp/{SLUG}.json')
    flow.write_text(json.dumps({'name': 'flow', 'nodes': [{'id': 'hook', 'type': 'webhook'},
        {'id': 'say', 'type': 'log', 'message': 'm'}], 'edges': [{'from': 'hook', 'to': 'say'}]}))
    env = {**os.environ, 'MESHHOOK_PROJECT': SLUG}
    binary = os.environ['MESHHOOK_BIN']
    subprocess.run([binary, '-q', 'workflow', 'publish', str(flow)], env=env, check=True,
                   capture_output=True)
    flow.unlink()
    made = subprocess.run([binary, '-q', 'endpoint', 'create', 'in', 'flow', '-o', 'json'], env=env,
                          check=True, capture_output=True, text=True)
    g = Gateway(MESHHOOK_USER_RATE='0')
    for part in (publish, history, streams, operation):
        part(g, owner, outsider, service)
    webhooks(g, json.loads(made.stdout)['secret'])
    g.end()
    limited(owner, service)
    away(owner, service)
    check_all_seen()
    psql(f"select meshhook.purge_project('{SLUG}')")
    print(f'{passed} passed, {failed} failed')
    sys.exit(failed > 0)


main()
