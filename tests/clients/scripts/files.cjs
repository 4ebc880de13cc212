// Files through `together-ai` on Node. Its upload takes the server from TOGETHER_API_BASE_URL, and works only where
// there is `require`.

const assert = require("node:assert/strict");
const { mkdtempSync, readFileSync, writeFileSync } = require("node:fs");
const { randomUUID } = require("node:crypto");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const Together = require("together-ai");

// Node's own fetch refuses the stream that this client sends, where others (node-fetch, Bun) do not.
const nodesFetch = globalThis.fetch;
globalThis.fetch = (url, init) => nodesFetch(url, init?.body?.pipe ? { ...init, duplex: "half" } : init);

const client = new Together();
const folder = mkdtempSync(join(tmpdir(), "tutti-files-"));

function newFile() {
  const path = join(folder, "train.jsonl");
  writeFileSync(path, `${JSON.stringify({ text: randomUUID() })}\n`.repeat(500));
  return path;
}

const checks = {
  async upload_and_delete() {
    const path = newFile();
    const file = await client.files.upload(path, "fine-tune");
    assert.equal(file.filename, "train.jsonl");
    assert.equal(file.bytes, readFileSync(path).length);
    assert((await client.files.list()).data.some((it) => it.id === file.id));
    assert.equal((await client.files.retrieve(file.id)).FileType, "jsonl");
    const content = await client.files.content(file.id);
    assert.deepEqual(Buffer.from(await content.arrayBuffer()), readFileSync(path));
    assert.equal((await client.files.delete(file.id)).deleted, true);
    await assert.rejects(client.files.retrieve(file.id), Together.NotFoundError);
  },
  async every_purpose() {
    for (const purpose of ["eval", "batch-api"]) {
      const file = await client.files.upload(newFile(), purpose, false);
      assert.equal(file.purpose, purpose);
    }
  },
};

async function main() {
  for (const [check, run] of Object.entries(checks)) {
    let error = "";
    await run().catch((reason) => (error = String(reason.stack ?? JSON.stringify(reason))));
    console.log(JSON.stringify({ check, error }));
  }
}

main();
