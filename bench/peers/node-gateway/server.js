'use strict';
// The gateway that a Node team writes first: Express, clients in a Map by channel, res.write.
// GET /api/logs/stream?channels=a,b   POST /api/logs/publish {channel, lines: [...]}
const express = require('express');

const app = express();
const clients = new Map(); // channel -> Set of responses

app.use(express.json({ limit: '16mb' }));

app.get('/api/logs/stream', (req, res) => {
  const channels = String(req.query.channels ?? '').split(',');
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache', Connection: 'keep-alive' });
  res.write(': ready\n\n');
  for (const channel of channels) {
    if (!clients.has(channel)) clients.set(channel, new Set());
    clients.get(channel).add(res);
  }
  const heartbeat = setInterval(() => res.write(': heartbeat\n\n'), 15000);
  req.on('close', () => {
    clearInterval(heartbeat);
    for (const channel of channels) clients.get(channel).delete(res);
  });
});

app.post('/api/logs/publish', (req, res) => {
  const { channel, lines } = req.body;
  for (const line of lines) {
    const text = `id: ${line.seq}\nevent: log\ndata: ${JSON.stringify({ channel, ...line })}\n\n`;
    for (const client of clients.get(channel) ?? []) client.write(text);
  }
  res.json({ published: lines.length });
});

const server = app.listen(Number(process.env.PORT ?? 0), '127.0.0.1', 4096, () => console.log(server.address().port));
