// Every text operation through `together-ai` on Node.

import assert from "node:assert/strict";
import Together from "together-ai";

const [CHAT, EMBEDDING, RERANK, PREFIXES] = process.argv.slice(2);
const SLOW = process.env.SLOW_MODEL;
const client = new Together();
const messages = [{ role: "user", content: "Say hello world" }];
const chat = { model: CHAT, messages, max_tokens: 16, temperature: 0 };

const checks = {
  async check_chat() {
    const answer = await client.chat.completions.create(chat);
    assert(answer.choices[0].message.content);
    assert(answer.usage.total_tokens > 0);
  },
  async check_chat_stream() {
    const whole = await client.chat.completions.create(chat);
    let text = "";
    let usage;
    for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert(usage.completion_tokens > 0);
  },
  async check_leaving_a_stream_early() {
    const stream = await client.chat.completions.create({ ...chat, max_tokens: 400, stream: true });
    for await (const _ of stream) break;
  },
  async check_completions() {
    const options = { model: CHAT, prompt: "One two three", max_tokens: 8, temperature: 0 };
    const whole = await client.completions.create(options);
    let text = "";
    for await (const chunk of await client.completions.create({ ...options, stream: true })) {
      text += chunk.choices[0]?.text ?? "";
    }
    assert(text);
    assert.equal(text, whole.choices[0].text);
  },
  async check_embeddings() {
    const answer = await client.embeddings.create({ model: EMBEDDING, input: ["one", "two"] });
    assert.deepEqual(answer.data.map((row) => row.embedding.length), [384, 384]);
  },
  async check_rerank() {
    const documents = ["London is in England.", "Paris is the capital of France."];
    const query = "Which city is the capital of France?";
    const answer = await client.rerank.create({ model: RERANK, query, documents, top_n: 1 });
    assert.deepEqual(answer.results.map((result) => result.index), [1]);
  },
  async check_models() {
    const models = await client.models.list();
    assert(models.some((model) => model.id === CHAT && model.type === "chat" && model.pricing));
  },
  async check_errors() {
    const ask = (options) => client.chat.completions.create({ ...chat, ...options });
    await assert.rejects(ask({ model: "no/such-model" }), Together.NotFoundError);
    await assert.rejects(ask({ temperature: "hot" }), Together.BadRequestError);
    const other = new Together({ apiKey: "tutti_wrong" });
    await assert.rejects(other.chat.completions.create(chat), Together.AuthenticationError);
  },
  // The model has one slot and no queue: while it is busy the server answers 429 with `retry-after: 1`. On a slow
  // machine the first request may end before the second comes: then once more.
  async retry_429() {
    await ask("a first request takes the client longer");
    assert((await waits()) || (await waits()) || (await waits()));
  },
};

const ask = (content) => client.chat.completions.create({ model: SLOW, messages: [{ role: "user", content }] });

async function waits() {
  let ended = false;
  const first = ask("[[sleep 1.5]] first").finally(() => (ended = true));
  while (!ended && !(await isBusy())) await new Promise((done) => setTimeout(done, 50));
  const began = performance.now();
  await ask("second");
  const waited = performance.now() - began;
  await first;
  return waited > 900;
}

async function isBusy() {
  const answer = await fetch(`${process.env.TOGETHER_BASE_URL.replace(/\/v1$/, "")}/metrics`);
  return (await answer.text()).includes(`vllm:num_requests_running{model_name="${SLOW}"} 1.0`);
}

for (const [check, run] of Object.entries(checks)) {
  if (!PREFIXES.split(",").some((prefix) => check.startsWith(prefix))) continue;
  let error = "";
  await run().catch((reason) => (error = String(reason.stack ?? reason)));
  console.log(JSON.stringify({ check, error }));
}
