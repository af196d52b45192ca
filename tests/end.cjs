// Preloaded into node's test runner. A file whose tests are over ends, whatever they left open: a test
// that failed cleans up after itself seldom, and would hold the suite until its time is over.
"use strict";
const { ChildProcess } = require("node:child_process");
const { after } = require("node:test");

const FAILED_MS = 10000; // for what the file itself does at its end, when a test failed
const MOST_MS = 180000; // and when none did: then what is left open is a failure

if (process.env.NODE_TEST_CONTEXT && /\.test\.mjs$/.test(process.argv[1]))
  after(() => {
    const since = Date.now();
    const look = () => {
      if (Date.now() - since < (process.exitCode ? FAILED_MS : MOST_MS)) return;
      const open = process._getActiveHandles();
      console.error(`${process.argv[1]} is over and leaves open: ${open.map((h) => h.constructor.name).join(" ")}`);
      for (const h of open) if (h instanceof ChildProcess) h.kill("SIGKILL");
      process.exit(1);
    };
    setInterval(look, 500).unref();
  });
