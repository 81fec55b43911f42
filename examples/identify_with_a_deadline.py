"""Who is in an image? Print each exit's answer as it comes, then the best one ready in time.

    python examples/identify_with_a_deadline.py GALLERY PICTURE [MODEL] [SECONDS]

Make GALLERY with `dare index GALLERY --model MODEL --images FOLDER`.
"""

import sys

from dare import answers, identify, open_gallery, open_runner

place, picture = sys.argv[1:3]
model = sys.argv[3] if len(sys.argv) > 3 else "lite"
deadline = float(sys.argv[4]) if len(sys.argv) > 4 else 0.05
runner, gallery = open_runner(model), open_gallery(place)

for answer in answers(picture, runner, gallery):  # stop asking, and the network stops
    nearest = answer.hits.ids[0, 0] if answer.hits.ids.size else "nobody"
    print(
        f"{1000 * answer.seconds:6.1f} ms  {runner.exit_names[answer.exit]:8} {nearest}, margin {answer.confidence:.3f}"
    )

best = identify(picture, runner, gallery, deadline=deadline, allow_late=True)
print(f"within {1000 * deadline:g} ms: {runner.exit_names[best.exit]}{'' if best.deadline_met else ', late'}")
