// Evaluations through `together-ai` on Node.

import assert from "node:assert/strict";
import Together from "together-ai";

const [FILE_ID] = process.argv.slice(2);
const client = new Together();
const common = {
  input_data_file_path: FILE_ID,
  judge: { model: "echo", model_source: "serverless", system_template: "Judge." },
};

async function evaluated(type, parameters) {
  const created = await client.evals.create({ type, parameters: { ...common, ...parameters } });
  assert.equal(created.status, "pending");
  let status = await client.evals.status(created.workflow_id);
  while (["pending", "queued", "running"].includes(status.status)) {
    await new Promise((done) => setTimeout(done, 100));
    status = await client.evals.status(created.workflow_id);
  }
  assert.equal(status.status, "completed");
  const job = await client.evals.retrieve(created.workflow_id);
  assert.deepEqual(job.results, status.results);
  const content = await client.files.content(job.results.result_file_id);
  const lines = (await content.text()).trim().split("\n").map((line) => JSON.parse(line));
  return [job.results, lines];
}

let [results, lines] = await evaluated("classify", {
  labels: ["yes", "no"],
  pass_labels: ["yes"],
  model_to_evaluate: "answer",
});
assert.deepEqual(JSON.parse(results.label_counts), { yes: 1, no: 1 });
assert.deepEqual(lines.map((line) => line.label), ["yes", "no"]);

[results] = await evaluated("score", {
  min_score: 0,
  max_score: 10,
  pass_threshold: 5,
  model_to_evaluate: {
    model: "echo",
    model_source: "serverless",
    max_tokens: 50,
    temperature: 0,
    system_template: "Answer.",
    input_template: "{{ number }} [[this]]",
  },
});
assert.deepEqual(results.aggregated_scores, { mean_score: 5, std_score: 3, pass_percentage: 50 });

[results] = await evaluated("compare", { model_a: "answer", model_b: "other" });
assert.deepEqual([results.A_wins, results.B_wins, results.Ties], [2, 0, 0]);

const newest = await client.evals.list({ limit: 2 });
assert.deepEqual(newest.map((job) => job.type), ["compare", "score"]);
console.log("done");
