// Measured: node
const assert = require("node:assert");
const child_process = require("node:child_process");
const crypto = require("node:crypto");
const dns = require("node:dns/promises");
const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const path = require("node:path");
const { Worker } = require("node:worker_threads");
const zlib = require("node:zlib");

async function main() {
  fs.mkdirSync("one/two", { recursive: true });
  await fs.promises.writeFile("one/two/file", "text");
  assert.equal(await fs.promises.readFile("one/two/file", "utf8"), "text");
  await Promise.all([...Array(16).keys()].map((n) => fs.promises.writeFile(`one/${n}`, "x")));
  fs.renameSync("one/1", "one/renamed");
  fs.copyFileSync("one/2", "one/copied");
  fs.symlinkSync("copied", "one/link");
  assert.equal(fs.realpathSync("one/link"), path.resolve("one/copied"));
  fs.chmodSync("one/3", 0o600);
  fs.utimesSync("one/3", 0, 0);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "some-"));
  fs.rmSync(folder, { recursive: true });
  fs.cpSync("one", "other", { recursive: true });
  const watcher = fs.watch("other", () => {});
  fs.rmSync("other", { recursive: true });
  watcher.close();

  assert.equal(child_process.execSync("echo child").toString(), "child\n");
  const same = child_process.spawnSync(process.execPath, ["-e", "console.log(1)"]);
  assert.equal(same.stdout.toString(), "1\n");
  const forked = child_process.fork(__filename, ["forked"]);
  const [message] = await require("node:events").once(forked, "message");
  assert.equal(message, "forked");
  forked.disconnect();

  const worker = new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", {
    eval: true,
  });
  assert.equal(await new Promise((done) => worker.once("message", done)), 42);

  const server = http.createServer((_, answer) => answer.end("served"));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const reply = await fetch(`http://127.0.0.1:${server.address().port}/`);
  assert.equal(await reply.text(), "served");
  server.closeAllConnections();
  server.close();

  await dns.lookup("localhost");
  crypto.randomBytes(16);
  crypto.generateKeyPairSync("ed25519");
  assert.equal(zlib.gunzipSync(zlib.gzipSync("text")).toString(), "text");
  assert.ok(os.cpus().length > 0 && os.totalmem() > 0 && os.userInfo().username);
  assert.ok(new Intl.DateTimeFormat().resolvedOptions().timeZone);
  process.title = "renamed";
}

if (process.argv[2] === "forked") {
  process.send("forked");
} else {
  main();
}
