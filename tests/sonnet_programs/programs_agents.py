"""Agents of reinforcement learning: value functions, actor and critic, recurrent agents."""

import copy
from typing import Any

import numpy as np

from tests.sonnet_programs.table import Batch, Phase, Program

NUM_ACTIONS = 3


def huber(lib: Any, errors: Any) -> Any:
    size = lib.abs(errors)
    clipped = lib.minimum(size, 1.0)
    return 0.5 * clipped**2 + size - clipped


class DuelingDQN(Program):
    """Double Q-learning with a dueling network; the target is a deep copy made before any call."""

    optimizers = {"td": ("Adam", {"learning_rate": 0.01})}
    phases = (Phase("td", "online"),)
    copies = (("online", "target", 1.0, 2),)
    clip = 1.0

    def rate(self, step: int) -> float:
        return 0.5 ** (step - 1)

    def build(self, lib: Any, snt: Any) -> None:
        class DuelingHead(snt.Module):
            def __init__(self, num_actions, name=None):
                super().__init__(name=name)
                self._value = snt.nets.MLP([8, 1], name="value")
                self._advantage = snt.nets.MLP([8, num_actions], name="advantage")

            def __call__(self, x):
                advantages = self._advantage(x)
                advantages -= lib.mean(advantages, axis=-1, keepdims=True)
                return self._value(x) + advantages

        class QNetwork(snt.Module):
            def __init__(self, name="q_network"):
                super().__init__(name=name)
                self._torso = snt.Sequential(
                    [
                        snt.Conv2D(4, 3, stride=2),
                        lib.relu,
                        snt.Flatten(),
                        snt.Linear(16),
                        snt.LayerNorm(axis=-1, create_scale=True, create_offset=True),
                        lib.elu,
                    ]
                )
                self._head = DuelingHead(NUM_ACTIONS)

            def __call__(self, observations):
                return self._head(self._torso(lib.cast(observations, "float32") / 255.0))

            def act(self, observations):
                return lib.argmax(self(observations), -1)

        online = QNetwork()
        self.parts = {"online": online, "target": copy.deepcopy(online)}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {
            "o_tm1": rng.integers(0, 255, (6, 6, 6, 2)).astype(np.uint8),
            "a_tm1": rng.integers(0, NUM_ACTIONS, 6).astype(np.int32),
            "r_t": rng.normal(size=6).astype(np.float32),
            "d_t": (0.9 * rng.integers(0, 2, 6)).astype(np.float32),
            "o_t": rng.integers(0, 255, (6, 6, 6, 2)).astype(np.uint8),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib, online = self.lib, self.parts["online"]
        taken = lib.one_hot(batch["a_tm1"], NUM_ACTIONS)
        q_tm1 = lib.sum(online(batch["o_tm1"]) * taken, axis=-1)
        best = lib.one_hot(online.act(batch["o_t"]), NUM_ACTIONS)
        q_t = lib.sum(self.parts["target"](batch["o_t"]) * best, axis=-1)
        target = lib.stop_gradient(batch["r_t"] + batch["d_t"] * q_t)
        return lib.mean(huber(lib, target - q_tm1))


class DistributionalActorCritic(Program):
    """D4PG: a critic of categorical returns, a deterministic policy, soft updates of targets."""

    phases = (Phase("critic", "critic"), Phase("policy", "policy"))
    optimizers = {
        "critic": ("Adam", {"learning_rate": 0.003}),
        "policy": ("Adam", {"learning_rate": 0.001, "beta1": 0.5}),
    }
    copies = (("critic", "target_critic", 0.1, 1), ("policy", "target_policy", 0.1, 1))
    clip = 0.5
    atoms = 7

    def build(self, lib: Any, snt: Any) -> None:
        atoms = self.atoms

        class LayerNormMLP(snt.Module):
            def __init__(self, sizes, name="feedforward_mlp_torso"):
                super().__init__(name=name)
                self._network = snt.Sequential(
                    [
                        snt.Linear(sizes[0], w_init=snt.initializers.VarianceScaling()),
                        snt.LayerNorm(axis=slice(1, None), create_scale=True, create_offset=True),
                        lib.tanh,
                        snt.nets.MLP(sizes[1:], activation=lib.elu, activate_final=True),
                    ]
                )

            def __call__(self, x):
                return self._network(x)

        class DiscreteValued(snt.Module):
            def __init__(self, name="discrete_valued_head"):
                super().__init__(name=name)
                self._logits = snt.Linear(atoms)
                self.support = lib.linspace(-2.0, 2.0, atoms)

            def __call__(self, x):
                return self._logits(x), self.support

        class Critic(snt.Module):
            def __init__(self, name="critic"):
                super().__init__(name=name)
                self._torso = LayerNormMLP([12, 8])
                self._head = DiscreteValued()

            def __call__(self, observation, action):
                action = lib.clip(action, -1.0, 1.0)
                return self._head(self._torso(lib.concat([observation, action], -1)))

        def policy():
            return snt.Sequential(
                [
                    LayerNormMLP([12, 8]),
                    snt.Linear(2, w_init=snt.initializers.RandomUniform(-1e-3, 1e-3)),
                    lib.tanh,
                ],
                name="policy",
            )

        self.parts = {
            "critic": Critic(),
            "policy": policy(),
            "target_critic": Critic(),
            "target_policy": policy(),
        }

    def batch(self, rng: np.random.Generator) -> Batch:
        make = lambda *shape: rng.normal(size=shape).astype(np.float32)
        return {"o": make(8, 5), "a": make(8, 2), "r": make(8), "o_next": make(8, 5)}

    def project(self, probs: Any, values: Any, support: Any) -> Any:
        """The distribution over `values` as one over `support`."""
        lib = self.lib
        gap = 4.0 / (self.atoms - 1)
        values = lib.clip(values, -2.0, 2.0)
        distance = lib.abs(values[:, None, :] - lib.reshape(support, [1, -1, 1])) / gap
        return lib.sum(lib.clip(1.0 - distance, 0.0, 1.0) * probs[:, None, :], axis=-1)

    def loss(self, phase: str, batch: Batch) -> Any:
        lib, parts = self.lib, self.parts
        if phase == "policy":
            logits, support = parts["critic"](batch["o"], parts["policy"](batch["o"]))
            return -lib.mean(lib.sum(lib.softmax(logits) * support, axis=-1))
        action = parts["target_policy"](batch["o_next"])
        logits, support = parts["target_critic"](batch["o_next"], action)
        values = batch["r"][:, None] + 0.9 * lib.reshape(support, [1, -1])
        target = lib.stop_gradient(self.project(lib.softmax(logits), values, support))
        logits, _ = parts["critic"](batch["o"], batch["a"])
        return lib.mean(lib.softmax_cross_entropy(target, logits))


class RecurrentReplay(Program):
    """R2D2: a recurrent Q-network whose state is reset within a sequence, burnt in and unrolled."""

    phases = (Phase("td", "online"),)
    optimizers = {"td": ("RMSProp", {"learning_rate": 0.002, "momentum": 0.5, "centered": True})}
    copies = (("online", "target", 1.0, 3),)

    def build(self, lib: Any, snt: Any) -> None:
        class ResetCore(snt.RNNCore):
            """Starts again from the initial state where the inputs say so."""

            def __init__(self, core, name=None):
                super().__init__(name=name or f"reset_{core.name}")
                self._core = core

            def __call__(self, inputs, prev_state):
                inputs, should_reset = inputs
                fresh = self._core.initial_state(inputs.shape[0])
                state = lib.map_structure(
                    lambda new, old: lib.where(should_reset[:, None], new, old), fresh, prev_state
                )
                return self._core(inputs, state)

            def initial_state(self, batch_size, **kwargs):
                return self._core.initial_state(batch_size, **kwargs)

        def network(name):
            core = snt.DeepRNN(
                [
                    snt.nets.MLP([8], activate_final=True),
                    snt.LSTM(6),
                    snt.Linear(NUM_ACTIONS, name="head"),
                ],
                name=name,
            )
            return ResetCore(core)

        self.parts = {"online": network("q_core"), "target": network("q_core")}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {
            "o": rng.normal(size=(7, 4, 5)).astype(np.float32),
            "reset": rng.random((7, 4)) < 0.3,
            "a": rng.integers(0, NUM_ACTIONS, (7, 4)).astype(np.int32),
            "r": rng.normal(size=(7, 4)).astype(np.float32),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib, snt = self.lib, self.lib.snt
        inputs = batch["o"], batch["reset"]
        burn_in = lib.map_structure(lambda x: x[:2], inputs)
        rest = lib.map_structure(lambda x: x[2:], inputs)
        qs = []
        for part in ("online", "target"):
            core = self.parts[part]
            _, state = snt.static_unroll(core, burn_in, core.initial_state(4))
            state = lib.map_structure(lib.stop_gradient, state)
            qs.append(snt.static_unroll(core, rest, state)[0])
        online, target = qs
        q = lib.sum(online * lib.one_hot(batch["a"][2:], NUM_ACTIONS), axis=-1)
        best = lib.one_hot(lib.argmax(online, -1), NUM_ACTIONS)
        q_next = lib.sum(target * best, axis=-1)
        errors = lib.stop_gradient(batch["r"][2:-1] + 0.9 * q_next[1:]) - q[:-1]
        weights = lib.cast(lib.one_hot([0, 1, 0, 1], 2)[:, 1], "float32") + 0.5
        return lib.mean(weights * lib.sum(errors**2, axis=0))


class ImpalaLearner(Program):
    """An actor-critic whose recurrent core starts from a state that is trained."""

    phases = (Phase("loss", "net"),)
    optimizers = {"loss": ("RMSProp", {"learning_rate": 0.01, "decay": 0.9})}

    def build(self, lib: Any, snt: Any) -> None:
        class Agent(snt.Module):
            def __init__(self, num_actions, name=None):
                super().__init__(name=name)
                self._torso = snt.nets.MLP([6], activate_final=True, name="torso")
                self._core = snt.GRU(5)
                self._start = snt.TrainableState(lib.zeros([5]), name="start")
                self._policy = snt.Linear(num_actions, name="policy")
                self._baseline = snt.Linear(1, name="baseline")

            def initial_state(self, batch_size):
                return self._start(batch_size)

            def unroll(self, inputs):
                observations, last_action, last_reward = inputs
                torso = snt.BatchApply(self._torso)(observations)
                parts = [torso, lib.one_hot(last_action, NUM_ACTIONS), last_reward[..., None]]
                state = self.initial_state(observations.shape[1])
                core, state = snt.dynamic_unroll(self._core, lib.concat(parts, -1), state)
                return snt.BatchApply(self._heads)(core)

            def _heads(self, core):
                return self._policy(core), self._baseline(core)[..., 0]

        self.parts = {"net": Agent(NUM_ACTIONS)}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {
            "o": rng.normal(size=(6, 3, 4)).astype(np.float32),
            "a": rng.integers(0, NUM_ACTIONS, (6, 3)).astype(np.int32),
            "r": rng.normal(size=(6, 3)).astype(np.float32),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib = self.lib
        inputs = batch["o"], batch["a"], lib.cast(batch["r"], "float32")
        logits, values = self.parts["net"].unroll(inputs)
        targets = lib.stop_gradient(batch["r"][1:] + 0.9 * values[1:])
        advantages = targets - values[:-1]
        log_probs = lib.log_softmax(logits[:-1])
        chosen = lib.sum(log_probs * lib.one_hot(batch["a"][1:], NUM_ACTIONS), axis=-1)
        policy = -lib.mean(chosen * lib.stop_gradient(advantages))
        entropy = -lib.mean(lib.sum(lib.softmax(logits[:-1]) * log_probs, axis=-1))
        return policy + 0.5 * lib.mean(advantages**2) - 0.01 * entropy


AGENTS = (DuelingDQN, DistributionalActorCritic, RecurrentReplay, ImpalaLearner)
