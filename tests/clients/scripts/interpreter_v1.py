"""The code interpreter through `together` 1.5."""

import base64

from together import Together

client = Together()
first = client.code_interpreter.run(code="x = 41; print('Hello')", language="python")
assert first.data.status == "success" and first.data.session_id.startswith("ses_"), first
assert [(it.type, it.data) for it in first.data.outputs] == [("stdout", "Hello\n")], first
assert first.data.errors is None

files = [
    {"name": "a.csv", "encoding": "string", "content": "a\n1\n2\n"},
    {"name": "b.bin", "encoding": "base64", "content": base64.b64encode(b"\x00\xff").decode()},
]
code = "import pandas\nprint(open('b.bin', 'rb').read())\npandas.read_csv('a.csv').a.sum() + x"
again = client.code_interpreter.run(code, "python", session_id=first.data.session_id, files=files)
assert again.data.session_id == first.data.session_id
assert [it.type for it in again.data.outputs] == ["stdout", "execute_result"], again
assert again.data.outputs[0].data == "b'\\x00\\xff'\n"
assert again.data.outputs[1].data["text/plain"] in ("44", "np.int64(44)"), again

plot = client.code_interpreter.run(
    "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(); 1 / 0", "python"
)
shown, error = plot.data.outputs
assert shown.type == "display_data" and base64.b64decode(shown.data["image/png"])[1:4] == b"PNG"
assert error.type == "error" and "ZeroDivisionError" in error.data

try:  # its models know no FailedExecution: this is how its users see one
    client.code_interpreter.run("1", "python", session_id="ses_unknown")
except ValueError as error:
    assert "data" in str(error)
else:
    raise AssertionError
print("done")
