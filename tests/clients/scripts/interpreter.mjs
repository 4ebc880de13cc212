// The code interpreter through `together-ai` on Node.

import assert from "node:assert/strict";
import Together from "together-ai";

const client = new Together();
const execute = (code, more = {}) => client.codeInterpreter.execute({ language: "python", code, ...more });

const first = await execute("x = 41; print('Hello')");
assert.equal(first.errors, null);
assert.deepEqual(first.data.outputs, [{ type: "stdout", data: "Hello\n" }]);

const files = [
  { name: "a.txt", encoding: "string", content: "é" },
  { name: "b.bin", encoding: "base64", content: Buffer.from([0, 255]).toString("base64") },
];
const code = "print(x, open('a.txt').read(), open('b.bin', 'rb').read())";
const again = await execute(code, { session_id: first.data.session_id, files });
assert.equal(again.data.session_id, first.data.session_id);
assert.equal(again.data.outputs[0].data, "41 é b'\\x00\\xff'\n");

const plot = await execute("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(); 1 / 0");
const [shown, error] = plot.data.outputs;
assert.equal(Buffer.from(shown.data["image/png"], "base64").toString("latin1", 1, 4), "PNG");
assert.equal(error.type, "error");
assert.match(error.data, /ZeroDivisionError/);

const failed = await execute("1", { session_id: "ses_unknown" });
assert.equal(failed.data, null);
assert.match(failed.errors[0], /ses_unknown/);

const listed = await client.codeInterpreter.sessions.list();
if (listed.errors) throw new Error("as users check it");
const session = listed.data.sessions.find((it) => it.id === first.data.session_id);
assert.equal(session.execute_count, 2);
assert.ok(new Date(session.expires_at) > new Date());
console.log("done");
