"""Books that are made up: every verdict, long texts, many claims, and one whose every text is hostile."""

from dataclasses import replace

from trainer.lecture.content import (
    FAILED,
    FAILS,
    HOLDS,
    NOT_RUN,
    SHOWN,
    UNDECIDED,
    Book,
    ClaimResult,
    Figure,
    StatementResult,
)

DOCUMENTS = {
    "000": "Training techniques",
    "001": "Training pipeline",
    "002": "Training neural networks: tips and practice",
    "003": "Optimizers, regularization and normalization",
    "004": "",
}
LINES = Figure(
    {
        "data": [
            {"x": [1, 2, 3, 4], "y": [2.1, 1.2, 0.7, 0.5], "name": "batch", "line": {"color": "#0072B2"}},
            {
                "x": [1, 2, 3, 4],
                "y": [2.2, 1.9, 1.5, 1.3],
                "name": "none",
                "line": {"color": "#D55E00", "dash": "dash"},
            },
        ],
        "layout": {"xaxis": {"title": {"text": "epoch"}, "dtick": 1}, "yaxis": {"title": {"text": "training loss"}}},
    },
    "Training loss by epoch, mean over 5 seeds.",
)
SURFACE = Figure(
    {
        "data": [{"type": "surface", "z": [[0, 1, 4], [1, 2, 5], [4, 5, 8]], "showscale": False}],
        "layout": {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}},
    },
    "The surface: drag to turn it.",
    "5 / 4",
)
DECADES = StatementResult(
    says="The largest rate that still reaches 90 % is at least ten times as large with batch normalization.",
    verdict=HOLDS,
    sentence="normalization=batch reaches it at a rate 1.6 decades larger than normalization=none (95 % interval 1.2 to"
    " 2.0, 5 seeds an arm), more than the 1 decade that was asked.",
    measure="score, largest_reaching(least=90)",
    unit="decades",
    arms=("normalization=batch", "normalization=none"),
    estimate=1.6,
    interval=(1.2, 2.0),
    least=1.0,
    p=0.001,
    values={"normalization=batch": dict.fromkeys("01234", 0.0), "normalization=none": dict.fromkeys("01234", -1.6)},
)
MODEL = ClaimResult(
    name="batch_norm_larger_rates",
    note="004",
    places="004:648, 002:107",
    title="Batch normalization allows larger learning rates",
    claim="With batch normalization a network still learns at learning rates at which it would otherwise fail, because"
    " the inputs of each layer keep their mean and spread.",
    verdict=HOLDS,
    next="Try normalization=layer and normalization=group: does only the batch's own mean do it?",
    formula="batch_norm",
    here="lecture_cnn on digits, 5 epochs",
    statements=(DECADES,),
    figures=(LINES,),
    arms={
        "normalization=batch": {"accuracy": "97.1 ± 0.4", "epochs": "5"},
        "normalization=none": {"accuracy": "81.0 ± 7.9", "epochs": "5"},
    },
    command="python -m trainer lecture --claim batch_norm_larger_rates",
    runs=40,
    seconds=52.0,
    notes=("One learning rate is not what a course would choose.",),
)


def claim(name, verdict=HOLDS, **changes):
    """The model claim under another name, its statements with its verdict."""
    says = () if verdict in (NOT_RUN, FAILED, SHOWN) else (replace(DECADES, verdict=verdict),)
    return replace(MODEL, **{"name": name, "verdict": verdict, "statements": says, **changes})


def book(*claims, **changes):
    """A book of these claims."""
    facts = (
        ("Budget", "quick"),
        ("Network", "lecture_cnn, unless said otherwise"),
        ("Data", "digits: 1 078 training and 359 validation images of 8 × 8"),
        ("Machine", "2 cores, no GPU"),
        ("Time", "24 minutes"),
    )
    told = {"tested": 31, "false_alarms": 0.78, "facts": facts, "documents": DOCUMENTS, **changes}
    return Book("The lecture, tested", "quick", tuple(claims), **told)


def every_verdict():
    """A book of a few claims that has each verdict, two statements, a demonstration, and a claim without a figure."""
    low = replace(
        DECADES, verdict=FAILS, estimate=-0.2, interval=(-0.7, 0.3), sentence="The difference is −0.2 decades (…)."
    )
    less = replace(DECADES, verdict=UNDECIDED, expect="less", estimate=-0.9, interval=(-2.0, 0.2), needed=14)
    same = replace(DECADES, expect="same", estimate=0.1, interval=(-0.3, 0.5))
    exact = replace(DECADES, exact=True, interval=None, estimate=0.0, unit="", sentence="In each of 3 seeds it is 0.")
    return book(
        claim(
            "zeros_symmetry",
            note="000",
            places="000:17",
            title="Zeros never break the symmetry",
            figures=(LINES, LINES),
        ),
        claim(
            "random_beats_grid", FAILS, note="000", places="000:20", statements=(low,), why="Here one setting decides."
        ),
        claim(
            "saddles", SHOWN, note="001", places="001:9", figures=(SURFACE, LINES, SURFACE), arms={}, runs=0, here=""
        ),
        claim("adam_default", UNDECIDED, note="002", places="002:156", statements=(less, same, exact), figures=()),
        claim("torn", FAILED, note="003", places="003:12", reason="step 3: the loss is not finite", figures=()),
        claim("dropout_overfitting", NOT_RUN, note="004", places="004:3", figures=(), runs=0, arms={}),
        MODEL,
    )


def sixty():
    """A book of sixty claims with titles and texts of all lengths."""
    verdicts = (HOLDS, HOLDS, FAILS, UNDECIDED, SHOWN, HOLDS, FAILED, NOT_RUN)
    titles = (
        MODEL.title,
        "No sigmoid",
        "Where one setting matters, random search finds a better one than a grid of as many",
    )
    made = [
        claim(
            f"claim_{at}",
            verdicts[at % len(verdicts)],
            note=f"00{at // 12}",
            places=f"00{at // 12}:{11 * at + 1}",
            title=f"{titles[at % 3]} ({at})",
            claim=MODEL.claim * (1 + 5 * (at % 7 == 3)),
            figures=(LINES,) * (at % 4),
        )
        for at in range(60)
    ]
    return book(*made)


def hostile(text="<script>alert(1)</script>"):
    """A book with this text in each field of a claim that a course's YAML or the names of its runs may fill."""
    said = replace(
        DECADES, says=text, sentence=text, unit=text, arms=(text, text), measure=text, values={text: {text: 1.0}}
    )
    picture = replace(LINES, caption=text, figure={"data": [{"x": [1], "y": [2], "name": text}], "layout": {}})
    texts = dict.fromkeys(("note", "places", "title", "claim", "next", "here", "command", "why", "reason"), text)
    one = claim(text, statements=(said,), figures=(picture,), arms={text: {text: text}}, notes=(text,), **texts)
    return replace(book(one, facts=((text, text),), documents={text: text}), title=text)
