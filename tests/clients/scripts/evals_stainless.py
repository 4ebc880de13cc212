"""Evaluations through `together` 2.x and 3.x."""

import json
import sys
import time
from pathlib import Path

import together
from together import Together

DATA = Path(sys.argv[1])
client = Together()
file = client.files.upload(file=DATA, purpose="eval", check=False)
common = {
    "input_data_file_path": file.id,
    "judge": {"model": "echo", "model_source": "serverless", "system_template": "Judge.", "num_workers": 2},
}


def evaluated(type_: str, **parameters: object) -> tuple[object, list[dict]]:
    created = client.evals.create(type=type_, parameters={**common, **parameters})
    assert created.status == "pending" and created.workflow_id
    while client.evals.status(created.workflow_id).status in ("pending", "queued", "running"):
        time.sleep(0.1)
    job = client.evals.retrieve(created.workflow_id)
    assert job.status == "completed" and job.type == type_, job.results
    assert job.created_at <= job.updated_at
    assert [it.status for it in job.status_updates] == ["pending", "queued", "running", "completed"]
    results = client.evals.status(created.workflow_id).results
    assert results.result_file_id == job.results.result_file_id
    content = client.files.content(results.result_file_id).read()
    return results, [json.loads(line) for line in content.splitlines()]


results, lines = evaluated("classify", labels=["yes", "no"], pass_labels=["yes"], model_to_evaluate="answer")
assert json.loads(results.label_counts) == {"yes": 1, "no": 1} and results.pass_percentage == 50
assert [line["label"] for line in lines] == ["yes", "no"]

writer = {
    "model": "echo",
    "model_source": "dedicated",
    "max_tokens": 50,
    "temperature": 0.0,
    "system_template": "Answer.",
    "input_template": "{{ number }} [[this]]",
}
results, lines = evaluated("score", min_score=0, max_score=10, pass_threshold=5, model_to_evaluate=writer)
scores = results.aggregated_scores
assert (scores.mean_score, scores.std_score, scores.pass_percentage) == (5.0, 3.0, 50.0)
assert (results.failed_samples, results.invalid_score_count) == (0, 0)

results, lines = evaluated("compare", model_a="answer", model_b="other")
assert (results.a_wins, results.b_wins, results.ties) == (2, 0, 0)
assert lines[0]["choice_flipped"] == lines[0]["final_decision"] == "A"

assert [job.type for job in client.evals.list(limit=2)] == ["compare", "score"]
assert client.evals.list(status="error") == []
try:
    client.evals.create(
        type="score", parameters={**common, "min_score": 3, "max_score": 1, "pass_threshold": 2}
    )
except together.BadRequestError as error:
    assert error.body["error"]["param"] == "parameters.min_score"
else:
    raise AssertionError("a range the wrong way round was accepted")
print("done")
