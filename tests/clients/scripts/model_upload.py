"""An adapter uploaded by an official Python client: its SDK or, as the second argument, its command."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

from together import Together

BASE, HOW, NAME = sys.argv[1:4]
SOURCE = {"model_name": NAME, "model_source": "me/lora", "model_type": "adapter", "base_model": BASE}


def uploaded(client: Together) -> tuple[str, str]:
    """Job and the model's name."""
    if HOW == "cli":
        command = [str(Path(sys.executable).with_name("together")), "models", "upload", "--json"]
        for field, value in SOURCE.items():
            command += [f"--{field.replace('_', '-')}", value]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        data = answer.get("data") or answer
        return data["job_id"], data["model_name"]
    answer = client.models.upload(**SOURCE)
    data = getattr(answer, "data", answer)
    return data.job_id, getattr(data, "x_model_name", None) or data.model_name


def status(client: Together, job_id: str) -> str:
    if hasattr(client.models, "uploads"):
        job = client.models.uploads.status(job_id)
        assert job.args.x_model_source == "me/lora"
        return job.status
    url = f"{os.environ['TOGETHER_BASE_URL']}/jobs/{job_id}"  # this client has no call for it
    asked = Request(url, headers={"authorization": f"Bearer {os.environ['TOGETHER_API_KEY']}"})
    with urlopen(asked) as answer:
        return json.load(answer)["status"]


def main() -> None:
    client = Together()
    job_id, name = uploaded(client)
    until = time.monotonic() + 200
    while (now := status(client, job_id)) not in ("Complete", "Failed"):
        assert time.monotonic() < until
        time.sleep(0.2)
    messages = [{"role": "user", "content": "Say hi"}]
    answer = client.chat.completions.create(model=name, messages=messages, max_tokens=3)
    print(json.dumps({"status": now, "name": name, "model": answer.model}))


main()
