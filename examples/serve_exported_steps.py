"""Answer queries from standard input on a budget, without torch: an image path per line in, a line of JSON out.

    ls crops/*.jpg | python examples/serve_exported_steps.py GALLERY STEPS [SHARE]

STEPS is an export of `dare export`, or the name of an included network. Queries cost on average SHARE of the full
network's multiply-adds: easy ones leave early. Needs only `dare-reid[onnx]`.
"""

import itertools
import json
import sys

from dare import Steered, identify_stream, open_gallery, open_runner

place, steps = sys.argv[1:3]
share = float(sys.argv[3]) if len(sys.argv) > 3 else 0.6
runner, gallery = open_runner(steps), open_gallery(place)
budget = max(share * runner.costs.macs[-1], runner.costs.macs[0])

pictures, asked = itertools.tee(line.strip() for line in sys.stdin)
policy = Steered(runner.costs, budget)
for picture, answer in zip(pictures, identify_stream(asked, runner, gallery, policy, micro_batch=1), strict=True):
    said = {"people": answer.hits.people[0].tolist()} if answer.exit >= 0 else {"problem": answer.problem}
    print(json.dumps({"picture": picture, "exit": answer.exit, **said}), flush=True)

assert "torch" not in sys.modules
