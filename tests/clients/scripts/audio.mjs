// Audio through `together-ai`; the arguments are those of the Python scripts.

import { createReadStream } from "node:fs";
import Together from "together-ai";

const [SPEECH, LISTENER, , , FILE] = process.argv.slice(2);
const client = new Together();
const TEXT = "Hello there. How are you?";

function check(condition, message) {
  if (!condition) throw new Error(message);
}

const checks = {
  async check_speech_formats() {
    for (const [wanted, head] of [["wav", "RIFF"], ["mp3", "\u00ff\u00fb"], ["raw", ""]]) {
      const answer = await client.audio.speech.create({
        model: SPEECH, input: TEXT, voice: "heart", response_format: wanted,
      });
      const data = Buffer.from(await answer.arrayBuffer());
      check(data.length > 1000 && data.toString("latin1").startsWith(head), wanted);
    }
  },
  async check_speech_stream() {
    const stream = await client.audio.speech.create({ model: SPEECH, input: TEXT, voice: "heart", stream: true });
    const chunks = [];
    for await (const chunk of stream) chunks.push(Buffer.from(chunk.b64, "base64"));
    const whole = await client.audio.speech.create({
      model: SPEECH, input: TEXT, voice: "heart", response_format: "raw",
    });
    check(Buffer.concat(chunks).equals(Buffer.from(await whole.arrayBuffer())), "not the same");
  },
  async check_transcription() {
    const heard = await client.audio.transcriptions.create({ file: createReadStream(FILE), model: LISTENER });
    check(heard.text, "no text");
    const detailed = await client.audio.transcriptions.create({
      file: createReadStream(FILE), model: LISTENER, response_format: "verbose_json",
      timestamp_granularities: ["word", "segment"], diarize: true,
    });
    check(detailed.words[0].speaker_id && detailed.speaker_segments.length, "no speakers");
  },
  async check_translation() {
    const heard = await client.audio.translations.create({ file: createReadStream(FILE), model: LISTENER });
    check(heard.text, "no text");
  },
  async check_voices() {
    const listed = await client.audio.voices.list();
    check(listed.data.some((it) => it.model === SPEECH && it.voices[0].name), "no voices");
  },
};

for (const [name, run] of Object.entries(checks)) {
  let error = "";
  try {
    await run();
  } catch (caught) {
    error = String(caught.stack ?? caught);
  }
  console.log(JSON.stringify({ check: name, error }));
}
