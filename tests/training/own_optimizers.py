"""Optimizers as a researcher writes them, whose state has forms that none of torch's has."""

import torch

Groups = list[dict]


class Lynx(torch.optim.Optimizer):
    """The sign of an interpolated momentum. Chen et al. 2023."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (m * first + p.grad * (1 - first)).sign_()
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
                m.mul_(second).add_(p.grad, alpha=1 - second)


def lynx(params: Groups, lr, weight_decay):
    return Lynx(params, lr, weight_decay=weight_decay)


class Whitened(torch.optim.Optimizer):
    """An orthogonalized momentum for hidden matrices, AdamW for all else. Jordan 2024."""

    def __init__(self, groups, lr):
        super().__init__(groups, {"lr": lr, "momentum": 0.95, "betas": (0.9, 0.99), "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + 1
            for p in group["params"]:
                state = self.state[p]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                if group["whitened"]:
                    buffer = state.setdefault("momentum", torch.zeros_like(p))
                    buffer.mul_(group["momentum"]).add_(p.grad)
                    p.add_(self.orthogonal(buffer.flatten(1)).view_as(p), alpha=-group["lr"])
                    continue
                if not state:
                    state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p, dtype=torch.float64))
                state["step"] += 1
                first, second = group["betas"]
                state["m"].lerp_(p.grad, 1 - first)
                state["v"].mul_(second).add_(p.grad.double().square(), alpha=1 - second)
                corrected = state["v"] / (1 - second ** state["step"])
                p.sub_((group["lr"] * state["m"] / (corrected.sqrt() + 1e-8)).to(p.dtype))

    @staticmethod
    def orthogonal(matrix):
        x = matrix / (matrix.norm() + 1e-7)
        for _ in range(3):
            x = 1.5 * x - 0.5 * x @ x.T @ x
        return x


def whitened(params: Groups, lr, weight_decay):
    """The classifier, the last matrix, and vectors are AdamW's, at a fifth of the rate."""
    pairs = [pair for group in params for pair in group["params"]]
    last = [name for name, p in pairs if p.ndim > 1][-1]
    hidden = [(name, p) for name, p in pairs if p.ndim > 1 and name != last]
    others = [(name, p) for name, p in pairs if p.ndim < 2 or name == last]
    assert hidden and all(name.endswith((".weight", ".bias")) for name, _ in pairs)
    return Whitened(
        [
            {"params": hidden, "whitened": True, "weight_decay": weight_decay},
            {"params": others, "whitened": False, "lr_scale": 0.2},
        ],
        lr,
    )


class Adafactor(torch.optim.Optimizer):
    """Second moments as a row and a column; a state of all parameters together. After Shazeer & Stern 2018."""

    def __init__(self, params, lr, name):
        super().__init__(params, {"lr": lr, "ranks": [1, 2]})
        self.name = name

    @torch.no_grad()
    def step(self, closure=None):
        shared = self.state.setdefault("all", {"norms": [], "largest": None, "name": self.name, "hits": (0, 1)})
        norms = []
        for group in self.param_groups:
            for p in group["params"]:
                state, square = self.state[p], p.grad.square() + 1e-30
                if p.ndim < 2:
                    state["v"] = state.get("v", 0) * 0.9 + square * 0.1
                    scale = state["v"].sqrt()
                else:
                    state["count"] = state.get("count", torch.tensor(0)) + 1
                    matrix = square.flatten(1)
                    state["row"] = state.get("row", 0) * 0.9 + matrix.mean(1) * 0.1
                    state["column"] = state.get("column", 0) * 0.9 + matrix.mean(0) * 0.1
                    scale = (state["row"].outer(state["column"]) / state["row"].mean()).sqrt().view_as(p)
                p.addcdiv_(p.grad, scale, value=-group["lr"])
                norms.append(p.grad.norm())
        norm = torch.stack(norms).norm()
        shared["norms"] = [*shared["norms"], norm][-5:]
        if len(shared["norms"]) == 5:
            shared["largest"] = max(shared["largest"] or 0.0, norm.item())
            shared["hits"] = (shared["hits"][0] + 1, 1)


def factored(params: Groups, lr, weight_decay):
    return Adafactor(params, lr, "factored")


class Lookahead(torch.optim.Optimizer):
    """Slow weights that follow those of another optimizer every third step. Zhang et al. 2019."""

    def __init__(self, base, every=3):
        self.base, self.every, self.steps = base, every, 0
        self.defaults, self.param_groups, self.state = base.defaults, base.param_groups, base.state
        names = [name for group in base.param_groups for name in group["param_names"]]
        weights = [p for group in base.param_groups for p in group["params"]]
        self.weights = dict(zip(names, weights, strict=True))
        self.slow = {name: p.detach().clone() for name, p in self.weights.items()}
        self.distances = []

    @torch.no_grad()
    def step(self, closure=None):
        self.base.step()
        self.steps += 1
        if self.steps % self.every == 0:
            self.distances.append(sum((p - self.slow[name]).norm().item() for name, p in self.weights.items()))
            for name, p in self.weights.items():
                p.copy_(self.slow[name].lerp_(p, 0.5))

    def zero_grad(self, set_to_none=True):
        self.base.zero_grad(set_to_none)

    def state_dict(self):
        own = {"slow": {name: {"weight": value} for name, value in self.slow.items()}, "steps": self.steps}
        return {**self.base.state_dict(), "slow_weights": own, "distances": self.distances}

    def load_state_dict(self, state):
        self.base.load_state_dict({key: state[key] for key in ("state", "param_groups")})
        self.param_groups, self.state = self.base.param_groups, self.base.state
        self.steps, self.distances = state["slow_weights"]["steps"], state["distances"]
        for name, value in state["slow_weights"]["slow"].items():
            self.slow[name].copy_(value["weight"])


def slow_weights(params: Groups, lr, weight_decay):
    return Lookahead(torch.optim.AdamW(params, lr, weight_decay=weight_decay))


class Pair(torch.optim.Optimizer):
    """Two optimizers, one for matrices and one for vectors, whose states lie in a list."""

    def __init__(self, parts):
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.param_groups = [group for part in parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        for part in self.parts:
            part.step()

    def state_dict(self):
        return {**super().state_dict(), "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state):
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def pair(params: Groups, lr, weight_decay):
    pairs = [pair for group in params for pair in group["params"]]
    matrices, vectors = [each for each in pairs if each[1].ndim > 1], [each for each in pairs if each[1].ndim < 2]
    return Pair([torch.optim.SGD(matrices, lr, 0.9, weight_decay=weight_decay), torch.optim.RMSprop(vectors, lr)])


class SAM(torch.optim.Optimizer):
    """The gradient at the worst place nearby. Foret et al. 2021."""

    gradients_per_step = 2

    def __init__(self, params, lr, rho=0.05):
        super().__init__(params, {"lr": lr, "rho": rho})
        self.base = torch.optim.SGD(self.param_groups, lr, 0.9)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure):
        loss = closure()
        weights = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in weights]).norm() + 1e-12
        moves = [p.grad * (self.param_groups[0]["rho"] / norm) for p in weights]
        for p, move in zip(weights, moves, strict=True):
            p.add_(move)
        closure()
        for p, move in zip(weights, moves, strict=True):
            p.sub_(move)
        self.base.step()
        return loss

    def state_dict(self):
        return self.base.state_dict()

    def load_state_dict(self, state):
        self.base.load_state_dict(state)
        self.param_groups = self.base.param_groups


def ascent(params: Groups, lr, weight_decay):
    return SAM(params, lr)


def lbfgs(params: Groups, lr, weight_decay):
    """Quasi-Newton; it takes a single group."""
    pairs = [pair for group in params for pair in group["params"]]
    return torch.optim.LBFGS([{"params": pairs}], lr, max_iter=3, history_size=4)


class ScheduleFree(torch.optim.Optimizer):
    """SGD on weights between an average, which is evaluated, and a fast sequence z. Defazio et al. 2024."""

    def __init__(self, params, lr, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0, "train_mode": False, "weight_sum": None})

    @torch.no_grad()
    def train(self):
        self.turn(True, lambda beta: 1 - beta)

    @torch.no_grad()
    def eval(self):
        self.turn(False, lambda beta: 1 - 1 / beta)

    def turn(self, mode, weight):
        for group in self.param_groups:
            for p in group["params"] if group["train_mode"] is not mode else ():
                if "z" in self.state[p]:
                    p.lerp_(self.state[p]["z"], weight(group["beta"]))
            group["train_mode"] = mode

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            assert group["train_mode"], "call train() first"
            group["k"] += 1
            group["weight_sum"] = (group["weight_sum"] or 0.0) + group["lr"] ** 2
            share = group["lr"] ** 2 / group["weight_sum"]
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, share).add_(p.grad, alpha=group["lr"] * (group["beta"] * (1 - share) - 1))
                z.sub_(p.grad, alpha=group["lr"])


def averaged(params: Groups, lr, weight_decay):
    return ScheduleFree(params, lr)
