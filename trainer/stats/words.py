"""The words of a verdict in plain English, for readers who know no statistics. Imports no torch."""

import re
from collections.abc import Iterable, Sequence

# (the term, a pattern of the sentences that use it, its explanation), in the order in which they are told.
WORDS = (
    ("arm", r"\barms?\b|\bbetter than\b|\bagainst\b|\bequal\b",
     "One of the configurations that are compared, with all of its runs."),
    ("seed", r"\bseeds?\b",
     "The number from which a run draws its first weights and its order of images. Runs that differ in the seed alone"
     " show how much a result varies by chance."),
    ("fold", r"\bfolds?\b",
     "One of the parts that the images are divided into. Each is the validation part once, while the others train."),
    ("points", r"\bpoints\b",
     "Percentage points: 91 % is 2 points more than 89 %."),
    ("± (interval)", "±",
     "The range in which the true difference lies on these validation images: 2.0 ± 0.5 points are 1.5 to 2.5. Of 100"
     " such ranges about 95 hold the true difference; of those at a look, more."),
    ("p", r"\bp [=<>]",
     "How often a difference this large would be seen by chance if no arm were better than another: p = 0.03 is 3 of"
     " 100 studies. The verdict says that an arm is better where p is below 0.05, or below the limit of a look."),
    ("no conclusion", r"\bno conclusion\b|\bno verdict\b",
     "The runs do not tell which arm is better. It does not say that the arms are equally good."),
    ("at most, within", r"\bdiffers?\b.*\bat most\b|\bwithin [\d.]+ (points|in)\b|\balike\b",
     "The true difference is no larger than this, in 95 of 100 studies."),
    ("would tell … in 4 of 5 studies", r"\bin 4 of 5 studies\b",
     "With so many seeds an arm, a true difference of this size is found in 4 of 5 studies, and missed in the others."),
    ("cross-fitted", r"\bcross-fitted\b",
     "Which epoch of a run counts is chosen on one half of the validation images, and scored on the other half, both"
     " ways round. Scored on the images that chose it, an epoch looks better than it is."),
    ("best epoch", r"\bbest epoch\b",
     "The epoch with the lowest validation loss. It is scored on the images that chose it, so it looks a little better"
     " than it is."),
    ("last epoch", r"\blast epoch\b",
     "The last epoch of a run that was validated, whichever was the best."),
    ("mean of the last … validations", r"\bmean of the last \d+ validations\b",
     "The mean over so many epochs at the end of each run, which varies less by chance than one epoch does."),
    ("paired seeds", r"\bpaired\b",
     "Runs with the same seed are compared with each other, as they share a part of their chance."),
    ("look", r"\blooks?\b",
     "A growing study is judged several times. Each look has a stricter limit for p, so that all looks of"
     " 100 studies of equal arms together report a difference in at most 5."),
    ("dropped", r"\bdropped\b",
     "An arm that a look found to be worse gets no more seeds."),
    ("on other images", r"\bother images\b",
     "How the difference would be if new images of the same kind were classified, not only these validation images."),
    ("corrected", r"\bcorrected\b",
     "With many comparisons some differences appear by chance. p and ± are made larger, so that of 100 studies of equal"
     " arms at most about 5 report any. In steps: from the clearest difference on, so that a p may repeat that of a"
     " clearer one."),
    ("false alarms", r"\bFalse alarms\b",
     "Studies that report a difference although all arms are equally good."),
    ("tuned", r"\btuned\b",
     "Each arm was first given the best of several values, each arm by as many trials, with seeds of their own. Then"
     " the arms were compared at these values with fresh seeds. ± does not include the luck of the tuning."),
    ("block", r"\bdata sets?\b|\bblocks?\b",
     "Arms are compared within one data set only, as scores on different images say nothing about each other."),
    ("add up, interaction", r"\bthe sum of both\b|\binteraction\b",
     "Two techniques add up if both together gain as much as each alone. They may gain less, as where one does the"
     " other's work, or more."),
    ("baseline", r"\bbaseline\b",
     "The arm that all others are compared with."),
)  # fmt: skip


TABLE = (
    ("± sd, in the table", "The standard deviation: how far the runs of an arm typically lie from their mean."),
    ("best epoch, in the table", "The epoch of the lowest validation loss, the median over the runs."),
)


def explained(sentences: Iterable[str]) -> Sequence[tuple[str, str]]:
    """Return the terms that the sentences of a verdict and its table use, each with its explanation."""
    text = "\n".join(sentences)
    found = [(term, meaning) for term, pattern, meaning in WORDS if re.search(pattern, text)]
    return [*found, *TABLE] if found else []
