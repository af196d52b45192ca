#!/usr/bin/env node
/*
 * A small HTTP service to call: it answers 503 to the first attempts of each
 * Idempotency-Key before it accepts, and writes down what it was asked.
 *
 *   target.mjs [--port N] [--host ADDR] [--fail-first N] [--delay-ms N]
 *              [--log FILE] [--tls-cert FILE --tls-key FILE]
 *
 * Port 0 takes a free one. One line on standard output says that it is ready:
 *   {"ready":true,"port":8099,"url":"http://127.0.0.1:8099"}
 * Without a key, attempts are counted by method and path. A request's query
 * may ask for more: ?fail=N&status=N&delay=MS&retry_after=SECONDS&bytes=N
 * Each request is a line of the log, written before its answer:
 *   {"t","method","path","idempotency_key","body","attempt","status"}
 * GET /health answers at once, GET /stats counts; neither is logged.
 * With a certificate it speaks HTTP/2 and HTTP/1.1 over TLS.
 */
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import { parseArgs } from 'node:util';

const BODY_LOGGED = 64 * 1024;

function options() {
	const number = (name, text) => {
		if (!/^\d{1,9}$/.test(text))
			throw new Error(`--${name} takes a number, not "${text}"`);
		return Number(text);
	};
	const { values } = parseArgs({
		options: {
			port: { type: 'string', default: '0' },
			host: { type: 'string', default: '127.0.0.1' },
			'fail-first': { type: 'string', default: '0' },
			'delay-ms': { type: 'string', default: '0' },
			log: { type: 'string' },
			'tls-cert': { type: 'string' },
			'tls-key': { type: 'string' },
		},
	});
	for (const name of ['port', 'fail-first', 'delay-ms'])
		values[name] = number(name, values[name]);
	return values;
}

/** A number of the query, kept within what can be done; else the preset. */
function asked(query, name, preset, least, most) {
	const n = Number.parseInt(query.get(name) ?? '', 10);

	return Number.isNaN(n) ? preset : Math.min(Math.max(n, least), most);
}

/** Read a body; what is beyond the log's cap is counted, not kept. */
function read(req, done) {
	const chunks = [];
	let kept = 0;
	let bytes = 0;

	req.on('data', (chunk) => {
		bytes += chunk.length;
		if (kept < BODY_LOGGED) chunks.push(chunk);
		kept += chunk.length;
	});
	req.on('end', () => {
		const all = Buffer.concat(chunks).subarray(0, BODY_LOGGED);
		done(all.toString('utf8'), bytes);
	});
	req.on('error', () => {}); // the caller left
}

class Target {
	constructor(opts) {
		this.opts = opts;
		this.attempts = new Map();
		this.stats = { requests: 0, accepted: 0, refused: 0, keys: 0 };
		this.log = opts.log ? fs.openSync(opts.log, 'a') : -1;
	}

	/** The how-manieth request of its key this is, from 1. */
	attempt(key) {
		const n = (this.attempts.get(key) ?? 0) + 1;

		this.attempts.set(key, n);
		this.stats.keys = this.attempts.size;
		return n;
	}

	/** What to answer: {status, headers, body}. */
	decide(query, attempt, key) {
		const fail = asked(query, 'fail', this.opts['fail-first'], 0, 1e9);
		const headers = { 'content-type': 'application/json' };
		let status = asked(query, 'status', 200, 200, 599);

		if (attempt <= fail) {
			status = 503;
			if (query.has('retry_after'))
				headers['retry-after'] = query.get('retry_after').replace(/[^ -~]/g, '?');
		}
		const body = query.has('bytes')
			? 'x'.repeat(asked(query, 'bytes', 0, 0, 256 << 20))
			: JSON.stringify({ accepted: status < 400, attempt, key: key ?? null });
		return { status, headers, body };
	}

	write(line) {
		if (this.log >= 0) fs.writeSync(this.log, JSON.stringify(line) + '\n');
	}

	handle(req, res) {
		const at = req.url.indexOf('?');
		const path = at < 0 ? req.url : req.url.slice(0, at);
		const query = new URLSearchParams(at < 0 ? '' : req.url.slice(at + 1));

		res.on('error', () => {});
		if (path === '/health' || path === '/stats') {
			req.resume();
			res.writeHead(200, { 'content-type': 'application/json' });
			res.end(JSON.stringify(path === '/stats' ? this.stats : { ok: true }));
			return;
		}
		read(req, (body) => this.answer(req, res, { path, query, body }));
	}

	answer(req, res, { path, query, body }) {
		const key = req.headers['idempotency-key'];
		const attempt = this.attempt(key ?? `${req.method} ${path}`);
		const reply = this.decide(query, attempt, key);
		const delay = asked(query, 'delay', this.opts['delay-ms'], 0, 1e8);
		const send = () => {
			if (res.destroyed) return;
			res.writeHead(reply.status, {
				...reply.headers,
				'content-length': Buffer.byteLength(reply.body),
			});
			res.end(reply.body);
		};

		this.stats.requests++;
		this.stats[reply.status < 400 ? 'accepted' : 'refused']++;
		this.write({
			t: Date.now(),
			method: req.method,
			path: req.url,
			idempotency_key: key ?? null,
			body,
			attempt,
			status: reply.status,
		});
		if (delay > 0) setTimeout(send, delay);
		else send();
	}
}

function serve(opts) {
	const target = new Target(opts);
	const handle = (req, res) => target.handle(req, res);
	const tls = opts['tls-cert'] !== undefined;
	const server = tls
		? http2.createSecureServer(
				{
					allowHTTP1: true,
					cert: fs.readFileSync(opts['tls-cert']),
					key: fs.readFileSync(opts['tls-key']),
				},
				handle,
			)
		: http.createServer({ keepAliveTimeout: 120_000 }, handle);

	server.on('error', (e) => {
		process.stderr.write(`target: ${e.message}\n`);
		process.exit(1);
	});
	server.listen({ port: opts.port, host: opts.host, backlog: 4096 }, () => {
		const { port } = server.address();
		const url = `${tls ? 'https' : 'http'}://${opts.host}:${port}`;

		process.stdout.write(JSON.stringify({ ready: true, port, url }) + '\n');
	});
	for (const signal of ['SIGINT', 'SIGTERM'])
		process.on(signal, () => process.exit(0));
}

try {
	serve(options());
} catch (e) {
	process.stderr.write(`target: ${e.message}\n`);
	process.exit(2);
}
