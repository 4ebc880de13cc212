"""Runs in a client's own environment: reads `[[path, purpose], ...]`, writes what its check says of each.

`official.py FOLDER`: where pyarrow is, which the clients want for Parquet files but do not bring along.
"""

import json
import os
import sys

os.environ["TOGETHER_NO_BANNER"] = "1"
sys.path.append(sys.argv[1])
try:
    from together.utils.files import check_file
except ImportError:
    from together.lib.utils.files import check_file

verdicts = [check_file(path, purpose)["is_check_passed"] for path, purpose in json.load(sys.stdin)]
json.dump(verdicts, sys.stdout)
