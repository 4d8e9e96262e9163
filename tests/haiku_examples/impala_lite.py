"""IMPALA in the small: a recurrent agent learns to catch a falling ball (Espeholt et al. 2018, arXiv:1802.01561).

An actor plays with parameters that are some steps old; V-trace corrects for that.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

ROWS, COLUMNS = 6, 5
NUM_ACTIONS = 3  # left, stay, right
BATCH_SIZE = 16
UNROLL_LENGTH = 10
REFRESH_PERIOD = 4  # how many steps the actor keeps its parameters
DISCOUNT = 0.99


class Step(NamedTuple):
    """What the games show after an action, `[B, ...]` or `[T, B, ...]`."""

    board: Any  # [..., rows, columns, 1]
    is_first: Any  # whether a new episode begins here
    reward: Any  # for the action before


class Trajectory(NamedTuple):
    steps: Step  # [T + 1, B, ...]
    actions: Any  # [T, B]
    logits: Any  # [T, B, A], of the policy that acted
    core_state: Any  # of the agent, before the first step


class Catch:
    """Games that are played side by side: a ball falls, and a paddle has to be under it at the end."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)
        self._row = np.zeros([BATCH_SIZE], int)
        self._ball = self._random.integers(0, COLUMNS, BATCH_SIZE)
        self._paddle = np.full([BATCH_SIZE], COLUMNS // 2)

    def observe(self, reward: np.ndarray) -> Step:
        board = np.zeros([BATCH_SIZE, ROWS, COLUMNS, 1], np.float32)
        games = np.arange(BATCH_SIZE)
        board[games, self._row, self._ball] = 1
        board[games, -1, self._paddle] = 1
        return Step(board, self._row == 0, reward.astype(np.float32))

    def play(self, action: np.ndarray) -> Step:
        self._row = self._row + 1
        self._paddle = np.clip(self._paddle + action - 1, 0, COLUMNS - 1)
        is_over = self._row == ROWS - 1
        reward = np.where(is_over, np.where(self._ball == self._paddle, 1, -1), 0)
        # A new episode begins where one is over: its first step carries the last reward of the old one.
        self._row = np.where(is_over, 0, self._row)
        self._ball = np.where(is_over, self._random.integers(0, COLUMNS, BATCH_SIZE), self._ball)
        self._paddle = np.where(is_over, COLUMNS // 2, self._paddle)
        return self.observe(reward)


def agent(L: Any) -> Any:
    """Returns the functions of the agent, for `multi_transform`."""

    class Torso(L.Module):
        def __call__(self, board: jax.Array) -> jax.Array:
            h = jax.nn.relu(L.Conv2D(8, kernel_shape=3, padding="SAME")(board))
            return L.nets.MLP([32], activate_final=True)(L.Flatten()(h))

    class Agent(L.Module):
        """Sees the board, remembers, and says how to act and what to expect."""

        def __init__(self, name: str | None = None):
            super().__init__(name=name)
            self._torso = Torso()
            self._core = L.ResetCore(L.LSTM(32))
            self._policy = L.Linear(NUM_ACTIONS, name="policy")
            self._value = L.Linear(1, name="value")

        def initial_state(self, batch_size: int) -> Any:
            return self._core.initial_state(batch_size)

        def __call__(self, step: Step, state: Any) -> tuple[tuple[jax.Array, jax.Array], Any]:
            """One step, `[B, ...]`."""
            h, state = self._core((self._torso(step.board), step.is_first), state)
            return self._heads(h), state

        def unroll(self, steps: Step, state: Any) -> tuple[jax.Array, jax.Array]:
            """All steps, `[T, B, ...]`: only the core has to go through them one by one."""
            features = L.BatchApply(self._torso)(steps.board)
            h, _ = L.dynamic_unroll(self._core, (features, steps.is_first), state)
            return L.BatchApply(self._heads)(h)

        def _heads(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
            return self._policy(h), self._value(h).squeeze(-1)

    def functions() -> Any:
        it = Agent()
        state_of_zeros = it.initial_state

        def act(step: Step, state: Any) -> Any:
            (logits, _), state = it(step, state)
            return jax.random.categorical(L.next_rng_key(), logits), logits, state

        def init(step: Step) -> Any:
            return act(step, state_of_zeros(BATCH_SIZE))

        return init, (act, it.unroll, state_of_zeros)

    return functions


def vtrace(values: jax.Array, rewards: jax.Array, discounts: jax.Array, ratios: jax.Array) -> Any:
    """Targets for the values, and advantages, `[T, B]`, of `values` `[T + 1, B]`, by V-trace.

    `ratios` are the new policy's probabilities of the actions over those of the policy that acted.
    """
    clipped = jnp.minimum(ratios, 1)
    errors = clipped * (rewards + discounts * values[1:] - values[:-1])

    def backward(correction: jax.Array, now: Any) -> Any:
        error, discount, trace = now
        correction = error + discount * trace * correction
        return correction, correction

    _, corrections = jax.lax.scan(
        backward, jnp.zeros_like(errors[0]), (errors, discounts, clipped), reverse=True
    )
    targets = values[:-1] + corrections
    following = jnp.concatenate([targets[1:], values[-1:]])
    return targets, clipped * (rewards + discounts * following - values[:-1])


def train(L: Any, steps: int = 20) -> tuple[list[float], Any]:
    """Returns the loss of each step, and all that is left at the end."""
    model = L.multi_transform(agent(L))
    act, unroll, state_of_zeros = model.apply
    optimizer = optax.rmsprop(3e-3, decay=0.99, eps=1e-3)

    def loss_of(params: Any, played: Trajectory) -> jax.Array:
        logits, values = unroll(params, None, played.steps, played.core_state)
        logits = logits[:-1]

        def log_probability(logits: jax.Array) -> jax.Array:
            return -optax.softmax_cross_entropy_with_integer_labels(logits, played.actions)

        ratios = jnp.exp(log_probability(logits) - log_probability(played.logits))
        discounts = DISCOUNT * (1 - played.steps.is_first[1:])
        targets, advantages = jax.lax.stop_gradient(
            vtrace(values, played.steps.reward[1:], discounts, ratios)
        )
        policy_loss = -jnp.mean(log_probability(logits) * advantages)
        value_loss = 0.5 * jnp.mean((targets - values[:-1]) ** 2)
        entropy = -jnp.mean(jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits), axis=-1))
        return policy_loss + 0.5 * value_loss - 0.01 * entropy

    @jax.jit
    def update(params: Any, opt_state: Any, played: Trajectory) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, played)
        changes, opt_state = optimizer.update(gradients, opt_state)
        return loss, optax.apply_updates(params, changes), opt_state

    act = jax.jit(act)
    games = Catch(seed=0)
    keys = L.PRNGSequence(0)
    step = games.observe(reward=np.zeros([BATCH_SIZE]))
    params = model.init(next(keys), step)
    opt_state = optimizer.init(params)
    core_state = state_of_zeros(params, None, BATCH_SIZE)
    actor_params = params

    found: list[float] = []
    for i in range(steps):
        if i % REFRESH_PERIOD == 0:
            actor_params = params
        first_core_state = core_state
        seen, done = [step], []
        for _ in range(UNROLL_LENGTH):
            action, logits, core_state = act(actor_params, next(keys), step, core_state)
            step = games.play(np.asarray(action))
            seen.append(step)
            done.append((action, logits))
        stacked_steps, (actions, logits) = (
            jax.tree.map(lambda *x: np.stack(x), *rows) for rows in (seen, done)
        )
        played = Trajectory(stacked_steps, actions, logits, first_core_state)
        loss, params, opt_state = update(params, opt_state, played)
        found.append(float(loss))
    return found, {"params": params, "core_state": tuple(core_state), "board": step.board}


def losses(L: Any, steps: int = 20) -> list[float]:
    """Returns the loss of each training step with `L`, dm-haiku or purestate."""
    return train(L, steps)[0]
