"""The code interpreter through `together` 2.x, synchronously and asynchronously."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

from together import AsyncTogether, BadRequestError, Together

client = Together()
execute = client.code_interpreter.execute
first = execute(code="x = 41; print('Hello')", language="python")
assert first.errors is None and first.data.status == "success", first
assert [(it.type, it.data) for it in first.data.outputs] == [("stdout", "Hello\n")], first

file = {"name": "a.csv", "encoding": "string", "content": "a\n1\n2\n"}
code = "import pandas\ndata = pandas.read_csv('a.csv')\nprint(data.a.sum() + x)\ndata"
again = execute(code=code, language="python", session_id=first.data.session_id, files=[file])
assert again.data.session_id == first.data.session_id
assert [it.type for it in again.data.outputs] == ["stdout", "execute_result"], again
assert again.data.outputs[0].data == "44\n" and "<table" in again.data.outputs[1].data.text_html

plot = execute(code="import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(); 1 / 0", language="python")
shown, error = plot.data.outputs
assert shown.type == "display_data" and base64.b64decode(shown.data.image_png)[1:4] == b"PNG"
assert error.type == "error" and "ZeroDivisionError" in error.data

failed = execute(code="1", language="python", session_id="ses_unknown")
assert failed.data is None and "ses_unknown" in failed.errors[0]
try:
    execute(code="1", language="python", files=[file | {"name": "../a"}])
except BadRequestError as refused:
    assert refused.body["error"]["param"] == "files.0.name", refused.body
else:
    raise AssertionError

listed = {it.id: it for it in client.code_interpreter.sessions.list().data.sessions}
session = listed[first.data.session_id]
assert session.execute_count == 2 and plot.data.session_id in listed
assert session.started_at < session.last_execute_at < datetime.now(UTC) < session.expires_at
assert session.expires_at - session.started_at == timedelta(hours=1)


async def many() -> None:
    async with AsyncTogether() as client:
        calls = [client.code_interpreter.execute(code=f"print({i})", language="python") for i in range(4)]
        answers = await asyncio.gather(*calls)
    assert [it.data.outputs[0].data for it in answers] == [f"{i}\n" for i in range(4)]
    assert len({it.data.session_id for it in answers}) == 4


asyncio.run(many())
print("done")
