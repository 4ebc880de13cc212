// Batches through `together-ai` on Node.

const assert = require("node:assert/strict");
const Together = require("together-ai");

const [FILE_ID, SLOW_ID] = process.argv.slice(2);
const client = new Together();
const pause = () => new Promise((done) => setTimeout(done, 100));

async function until(id, ...statuses) {
  let job = await client.batches.retrieve(id);
  while (!statuses.includes(job.status)) {
    await pause();
    job = await client.batches.retrieve(id);
  }
  return job;
}

async function lines(id) {
  const content = await client.files.content(id);
  const read = (await content.text()).trim().split("\n").map((line) => JSON.parse(line));
  return Object.fromEntries(read.map((line) => [line.custom_id, line]));
}

async function main() {
  const endpoint = "/v1/chat/completions";
  const created = await client.batches.create({ endpoint, input_file_id: FILE_ID });
  assert.equal(created.job.status, "VALIDATING");
  const job = await until(created.job.id, "COMPLETED", "FAILED");
  assert.equal(job.progress, 100);
  const good = (await lines(job.output_file_id)).good;
  assert.equal(good.response.body.choices[0].message.content, "hello there");
  assert.equal((await lines(job.error_file_id)).wrong.response.status_code, 400);

  const other = await client.batches.create({ endpoint, input_file_id: SLOW_ID });
  await client.batches.cancel(other.job.id);
  await until(other.job.id, "CANCELLED");
  const listed = (await client.batches.list()).map((it) => it.id);
  assert.deepEqual(listed.slice(0, 2), [other.job.id, job.id]);
  await assert.rejects(client.batches.create({ endpoint: "/v1/nothing", input_file_id: FILE_ID }), /endpoint/);
  console.log("done");
}

main();
