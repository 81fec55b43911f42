"""Score your own vectors by the protocol of Market-1501.

    python examples/score_your_embeddings.py VECTORS.npz

The file holds vectors `query` and `gallery`, (N, D), compared by Euclidean distance (for cosines, scale them to
length 1), and the person and camera number of each row: `query_people`, `query_cameras`, `gallery_people`,
`gallery_cameras`. Distractors have person 0, junk -1.
"""

import sys

import numpy as np

from dare import Labels, score_vectors

given = np.load(sys.argv[1])
query = Labels(given["query_people"], given["query_cameras"])
gallery = Labels(given["gallery_people"], given["gallery_cameras"])

for rule in ("official", "step"):  # Market-1501's own code, and torchreid's
    scores = score_vectors(given["query"], given["gallery"], query, gallery, rule=rule)
    print(f"{rule:8} rank-1 {scores.cmc(1):.2%}  rank-5 {scores.cmc(5):.2%}  mAP {scores.mean_average_precision:.2%}")
