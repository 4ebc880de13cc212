// An adapter uploaded by the official TypeScript client.
import Together from "together-ai";

const [base, , name] = process.argv.slice(2);
const client = new Together();
const answer = await client.models.upload({
  model_name: name,
  model_source: "me/lora",
  model_type: "adapter",
  base_model: base,
});
let job;
do {
  await new Promise((done) => setTimeout(done, 200));
  job = await client.models.uploads.status(answer.data.job_id);
} while (!["Complete", "Failed"].includes(job.status));
const chat = await client.chat.completions.create({
  model: answer.data.model_name,
  messages: [{ role: "user", content: "Say hi" }],
  max_tokens: 3,
});
console.log(JSON.stringify({ status: job.status, name: answer.data.model_name, model: chat.model }));
