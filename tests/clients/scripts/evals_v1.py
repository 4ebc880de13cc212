"""Evaluations through `together` 1.5."""

import json
import sys
import time
from pathlib import Path

from together import Together

DATA = Path(sys.argv[1])
client = Together()
file = client.files.upload(str(DATA), purpose="eval", check=False)
judge = {"judge_model": "echo", "judge_model_source": "serverless", "judge_system_template": "Judge."}


def evaluated(type_: str, **parameters: object) -> tuple[dict, list[dict]]:
    created = client.evaluation.create(type=type_, input_data_file_path=file.id, **judge, **parameters)
    assert created.status.value == "pending"
    while client.evaluation.status(created.workflow_id).status.value in ("pending", "queued", "running"):
        time.sleep(0.1)
    job = client.evaluation.retrieve(created.workflow_id)
    status = client.evaluation.status(created.workflow_id)
    assert job.status.value == status.status.value == "completed", job.results
    assert job.results == status.results and job.type.value == type_
    target = DATA.with_name("v1-results.jsonl")
    client.files.retrieve_content(job.results["result_file_id"], output=str(target))
    return job.results, [json.loads(line) for line in target.read_text().splitlines()]


results, lines = evaluated("classify", labels=["yes", "no"], pass_labels=["yes"], model_to_evaluate="answer")
assert json.loads(results["label_counts"]) == {"yes": 1, "no": 1} and results["pass_percentage"] == 50
assert [line["label"] for line in lines] == ["yes", "no"]

writer = {
    "model": "echo",
    "model_source": "serverless",
    "max_tokens": 50,
    "temperature": 0.0,
    "system_template": "Answer.",
    "input_template": "{{ number }} [[this]]",
}
results, lines = evaluated(
    "score", min_score=0.0, max_score=10.0, pass_threshold=5.0, model_to_evaluate=writer
)
assert results["aggregated_scores"] == {"mean_score": 5.0, "std_score": 3.0, "pass_percentage": 50.0}
assert lines[0]["MODEL_TO_EVALUATE_OUTPUT"] == "2 [[this]]"

results, lines = evaluated("compare", model_a="answer", model_b="other")
assert [results[name] for name in ("A_wins", "B_wins", "Ties", "num_samples")] == [2, 0, 0, 2]

newest = client.evaluation.list(limit=2)
assert [job.type.value for job in newest] == ["compare", "score"]
assert client.evaluation.list(status="error") == []
print("done")
