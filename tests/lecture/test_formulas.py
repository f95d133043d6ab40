"""The formulas of the book: both forms agree, would not if one were wrong, and stand on their own when pasted."""

import functools
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from trainer.errors import ConfigError
from trainer.lecture import formulas
from trainer.lecture.formulas import rule_of
from trainer.lecture.formulas.rule import source

LINES, WIDTH = 12, 59  # of a source: two stand side by side in a window of 1280 pixels
TEXT_WIDTH = 66

# A slip in one form, many of them those of the notes: formula → (what stands there, what is wrong).
SLIPS = {
    "gradient_descent": ("lr * 2 * x", "lr * x"),
    "mini_batch": (" / len(batch)", ""),  # note 003:50: the sum
    "sgd": ("W - lr", "W + lr"),
    "momentum": ("beta * v + grad", "beta * v + (1 - beta) * grad"),  # note 004:361
    "momentum_note_003": ("theta - v", "theta - gamma * v"),
    "momentum_note_004": ("(1 - beta) * grad", "grad"),
    "nesterov": ("W - lr * beta * v ", "W + beta * v "),  # note 002:68
    "weight_decay": ("(1 - lr * lam)", "(1 - 2 * lr * lam)"),  # note 000:137
    "adagrad": ("(np.sqrt(G) + eps)", "np.sqrt(G + 1e-6)"),
    "rmsprop": ("(1 - alpha) * grad**2", "grad**2"),
    "adam": ("v / (1 - b[1] ** t)", "v"),  # no bias correction
    "bias_correction": ("m / (1 - beta**t)", "m"),
    "adamw": ("(1 - lr * lam)", "(1 - lam)"),
    "step": ("epoch // step_size", "epoch / step_size"),
    "cosine": ("epoch / T_max", "(epoch + 1) / T_max"),
    "inverse_sqrt": ("np.sqrt(epoch + 1)", "(epoch + 1)"),  # what 1/t decay usually means
    "plateau": ("waited > patience", "waited >= patience"),
    "warmup": ("(step + 1)", "step"),
    "batch_norm": ("np.var(x, axis=0)", "np.var(x, axis=0, ddof=1)"),
    "batch_norm_running": ("x.var(axis=0, ddof=1)", "x.var(axis=0)"),  # note 000:114
    "layer_norm": ("np.var(x, axis=1", "np.var(x, axis=1, ddof=1"),
    "dropout": ("r > p", "r < p"),  # note 003:1139
    "dropout_expectation": (" / (1 - p)\n", "\n"),
    "thinned_average": ("hidden * mask / (1 - p)", "hidden * mask"),
    "leaky_relu": ("slope=0.01", "slope=0.02"),
    "vanishing_gradient": ("a[i + 1] * (1 - a[i + 1])", "a[i + 1]"),
    "cross_entropy": (".mean()", ".sum()"),  # note 003:733
    "mse": (".mean()", ".sum()"),  # note 004:188
    "label_smoothing": ("eps / K", "eps / (K - 1)"),
    "l1": ("strength * np.abs(W).sum()", "strength / 2 * np.abs(W).sum()"),  # note 003:743
    "l2": ("strength * W\n", "2 * strength * W\n"),  # note 000:137
    "loss_surface": ("W + b * d2", "W - b * d2"),
    "xavier_normal": ("4 /", "2 /"),
    "kaiming_normal": ("z.shape[1]", "z.shape[0]"),
    "standardize": ("training.mean", "x.mean"),
    "flip": ("::-1", "::1"),
    "crop": ("top : top + H", "top : top + H - 1"),
    "affine": ("/ H - 1", "/ H"),
    "cutout": ("row + half,", "row + half + 1,"),
    "early_stopping": ("loss > best", "loss >= best - 0.05"),
    "bias_variance": ("predictions.var(axis=0)", "predictions.var(axis=0, ddof=1)"),
    "random_search": ("** trials", "** (trials - 1)"),
}


@pytest.fixture(params=formulas.names())
def name(request):
    return request.param


def pasted(form):
    """The function or class of a source text that is alone with NumPy and torch."""
    space = {}
    exec(f"import numpy as np\nimport torch\n\n{form}", space)
    return list(space.values())[-1]


def largest(rule, numpy=None, pytorch=None):
    changed = type(rule)(**{**vars(rule), "numpy": numpy or rule.numpy, "torch": pytorch or rule.torch})
    return changed.difference()


def test_both_forms_agree_and_the_sentence_says_so(name):
    rule, shown = rule_of(name), formulas.formula(name)
    assert 0 <= formulas.check(name) <= rule.tolerance <= 1e-12
    assert shown.check.startswith(f"Both agree on {rule.tried}: ")
    assert shown.check.endswith(", tolerance 1e-12.")
    assert formulas.formula(name) is shown  # computed once


def test_the_sources_are_short_and_work_alone(name):
    shown = formulas.formula(name)
    for text in (shown.numpy, shown.torch):
        lines = text.splitlines()
        assert len(lines) <= LINES
        assert max(map(len, lines)) <= WIDTH
        assert lines[0].startswith(("def ", "class "))
        assert '"""' not in text
    assert max(map(len, shown.text.splitlines())) <= TEXT_WIDTH
    assert "torch" not in shown.numpy
    assert "np." not in shown.torch
    assert largest(rule_of(name), pasted(shown.numpy), pasted(shown.torch)) == formulas.check(name)


def test_a_form_that_is_off_by_a_millionth_does_not_agree(name):
    rule = rule_of(name)

    def shifted(value):
        if isinstance(value, list | tuple):
            return type(value)(shifted(each) for each in value)
        return np.asarray(value) + 1e-6

    wrong = functools.wraps(rule.numpy)(lambda *args, **kwargs: shifted(rule.numpy(*args, **kwargs)))
    assert largest(rule, wrong) > 1e3 * rule.tolerance
    changed = type(rule)(**{**vars(rule), "numpy": wrong})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.lecture.formulas.rule.source", lambda form: "")
        assert changed.formula(name).check.startswith(f"They do not agree on {rule.tried}: largest difference ")


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_found(name):
    rule, (right, wrong) = rule_of(name), SLIPS[name]
    text = source(rule.numpy)
    assert text.count(right) >= 1
    assert largest(rule, pasted(text.replace(right, wrong))) > 1e3 * rule.tolerance


def test_the_index_is_that_of_the_modules():
    assert len(set(formulas.names())) == len(formulas.names())
    for topic, members in formulas.TOPICS.items():
        rules = __import__(f"trainer.lecture.formulas.{topic}", fromlist=["RULES"]).RULES
        assert tuple(rules) == members
        assert all(rule.numpy.__name__ == name for name, rule in rules.items())


def test_a_check_leaves_the_random_numbers_of_a_run_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    for name in ("dropout", "xavier_normal", "weight_decay"):
        formulas.check(name)
    assert torch.equal(torch.rand(3), expected)


def test_the_names_are_known_without_torch():
    code = "import sys; from trainer.lecture.formulas import names; print(len(names()) > 50, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True False\n", "")


def test_a_name_that_is_none_is_told_those_that_are():
    with pytest.raises(
        ConfigError, match=r"formula=batchnorm: there is none of this name\. Accepted: gradient_descent,"
    ):
        formulas.formula("batchnorm")


def test_the_table_of_note_003():
    values = np.array([150, 210, 320, 175, 140, 250, 230, 130, 300, 280, 350, 230.0])
    table = {
        0.2: [120.0, 192.0, 294.4, 198.9, 151.8, 230.4, 230.1, 150.0, 270.0, 278.0, 335.6, 251.1],
        0.5: [75.0, 142.5, 231.3, 203.1, 171.6, 210.8, 220.4, 175.2, 237.6, 258.8, 304.4, 267.2],
        0.8: [30.0, 66.0, 116.8, 128.4, 130.8, 154.6, 169.7, 161.7, 189.4, 207.5, 236.0, 234.8],
    }
    rule = rule_of("moving_average")
    for alpha, printed in table.items():
        assert rule.numpy(values, alpha) == pytest.approx(printed, abs=0.0501)  # 231.25 is printed as 231.3
        assert rule.torch(torch.tensor(values), alpha).tolist() == pytest.approx(printed, abs=0.0501)


def test_the_three_forms_of_momentum_are_one_while_the_rate_is_constant():
    """Note 003's with γ = η, note 004's with α = η / (1 − β); after a drop of the rate, note 003's is another."""

    def path(name, rates, factor=1.0):
        form, rng, v = rule_of(name).numpy, np.random.default_rng(0), np.zeros(3)
        W = np.ones(3)
        rate = list(inspect.signature(form).parameters)[3]
        for lr in rates:
            W, v = form(W, rng.standard_normal(3), v, **{rate: lr * factor})
        return W

    constant, dropped = [0.1] * 20, [0.1] * 10 + [0.01] * 10
    for rates, same in ((constant, True), (dropped, False)):
        assert np.allclose(path("momentum", rates), path("momentum_note_003", rates), atol=1e-12) is same
        assert path("momentum", rates) == pytest.approx(path("momentum_note_004", rates, 10.0), abs=1e-12)


def test_the_figures_of_the_texts():
    """x falls for rates below 1 and grows above; 59 random points; the first step of RMSProp; 625 runs."""
    descent, search = rule_of("gradient_descent").numpy, rule_of("random_search").numpy
    assert descent(10.0, 0.2, 10) == pytest.approx([10 * 0.6**t for t in range(11)])
    assert [abs(descent(10.0, lr)[-1]) < 10 for lr in (0.99, 1.01)] == [True, False]
    assert descent(10.0, 0.5)[1] == 0
    assert search(58, 0.05) < 0.95 < search(59, 0.05)
    first, _ = rule_of("rmsprop").numpy(np.zeros(1), np.array([3.0]), np.zeros(1), lr=0.001)
    assert first == pytest.approx(-0.01)
    assert rule_of("grid_cost").numpy(5, 4) == 625
    exponents = np.log10(rule_of("log_scale").numpy(np.array([0.0, 0.25, 0.5, 1.0])))
    assert exponents == pytest.approx([-5, -4, -3, -1])


def test_note_004_prints_the_same_adagrad():
    """Its rate η/√(t + 1) over the root mean square of the gradients so far is η over the root of their sum."""
    rng, W, G, seen = np.random.default_rng(0), np.ones(3), np.zeros(3), []
    other = W
    for t in range(20):
        g = rng.standard_normal(3)
        W, G = rule_of("adagrad").numpy(W, g, G, lr=0.1, eps=0.0)
        seen.append(g)
        other = other - 0.1 / np.sqrt(t + 1) / np.sqrt(np.mean(np.square(seen), axis=0)) * g
    assert other == pytest.approx(W, abs=1e-12)


def test_the_second_method_of_note_000_decays_twice_as_much():
    """The loss plus λ·Σp², against weight_decay=λ of torch."""
    W = torch.ones(3, requires_grad=True)
    (0.1 * W.pow(2).sum()).backward()
    optimizer = torch.optim.SGD([torch.ones(3, requires_grad=True)], lr=1.0, weight_decay=0.1)
    decayed = optimizer.param_groups[0]["params"][0]
    decayed.grad = torch.zeros(3)
    optimizer.step()
    assert W.grad.tolist() == pytest.approx([0.2] * 3)
    assert (1 - decayed).tolist() == pytest.approx([0.1] * 3)


def test_what_the_remarks_say():
    """Ten times the step; a tenth of the gradient; σ′; tanh from σ; ReLU from maxout; the mask of note 003."""
    v = np.zeros(1)
    for _ in range(200):
        W, v = rule_of("momentum").numpy(np.zeros(1), np.ones(1), v, lr=1.0)
    assert float(W[0]) == pytest.approx(-10)
    assert rule_of("bias_correction").numpy(np.full(9, 3.0)) == pytest.approx([3.0] * 9)
    assert rule_of("momentum_note_004").numpy(np.zeros(1), np.ones(1), np.zeros(1))[1] == pytest.approx(0.1)
    x = np.linspace(-5, 5, 1001)
    sigma = rule_of("sigmoid").numpy
    slopes = sigma(x) * (1 - sigma(x))
    assert np.gradient(sigma(x), x) == pytest.approx(slopes, abs=1e-3)
    assert slopes.max() == 0.25
    assert rule_of("tanh").numpy(x) == pytest.approx(2 * sigma(2 * x) - 1)
    w, b = np.array([[2.0]]), np.array([-1.0])
    assert np.array_equal(
        rule_of("maxout").numpy(x[:, None], w, b, 0 * w, 0 * b)[:, 0], rule_of("relu").numpy(2 * x - 1)
    )
    r = (np.arange(1000) + 0.5) / 1000
    for p in (0.3, 0.5):
        assert rule_of("dropout").numpy(np.ones(1000), r, p).mean() == pytest.approx(1)
        assert np.mean((r < p) / (1 - p)) == pytest.approx(p / (1 - p))  # note 003: 1 for one half only
