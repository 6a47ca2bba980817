"""Offline eva in one file (arXiv:2411.00062, Algorithm 1); nothing of the library is imported.

    answer the prompts · score the answers · how much is there to learn from each prompt? ·
    draw the informative 25 % · evolve each 4 times · mix 80/20 with originals ·
    answer afresh · pair best with worst · DPO

    python examples/minimal.py        # half a minute on a CPU: a random model of 25,000 weights

The game: a prompt such as "tell of rain, more a, less t" wishes for letters, and the reward is how
well the letters of the answer fit the wishes. So the reward is exact, and evolving a prompt (one
wish more, sometimes of another thing) is a line of code. A language model as rewriter, a reward
model and a real policy would change `evolve`, `reward` and `make_model`, and nothing else.

`tests/examples/test_minimal.py` plays the same game with the library: same prompts, same answers,
same pairs, same losses.
"""

import copy
import hashlib
import json

import numpy as np
import torch
from torch.nn.functional import log_softmax, logsigmoid
from transformers import LlamaConfig, LlamaForCausalLM

# What the paper fixes: 6 answers, 25 % drawn, 4 children each, 80 % evolved. It plays 10,000
# prompts a round, we 24; the rest suits a tiny model.
PER_ROUND, N, FRACTION, CHILDREN, EVOLVED = 24, 6, 0.25, 4, 0.8
LIMIT = 16  # tokens of an answer
BETA, LR, EPOCHS, BATCH, CLIP = 0.1, 3e-3, 2, 4, 1.0
SEED = 42


# ── Randomness ────────────────────────────────────────────────────────────────────────────────
# Every draw has a stream of its own, named by what it is for. Nothing depends on the order of
# calls: other batches, a resumed run or a second reader of the data change no draw.


def stream(*name):
    """Return the random stream of a name, from its beginning: a hash is the key of a Philox."""
    key = hashlib.blake2b(repr(name).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def name_of(prompt):
    """Return a prompt's id: a hash of its messages and of its checks, of which it has none."""
    seen = [["user", prompt]], []
    return hashlib.blake2b(json.dumps(seen).encode(), digest_size=8).hexdigest()


# ── The world: prompts, a reward, a way to evolve ─────────────────────────────────────────────

THINGS = ("rain", "the sea", "a long road", "bread", "winter", "my house")
VOWELS, CONSONANTS = "aeiou", "bcdfghklmnprstvw"


def wish(rng, taken):
    """Return a wish about a letter that is not taken: more of a vowel, or less of a consonant."""
    letter = rng.choice([letter for letter in VOWELS + CONSONANTS if letter not in taken])
    return f", {'more' if letter in VOWELS else 'less'} {letter}"


def human_prompts():
    """Return X_1: every thing with four different wishes."""
    rng = stream("human")
    firsts = [wish(rng, "") for _ in range(40)]
    prompts = [f"tell of {thing}{first}" for first in firsts for thing in THINGS]
    return [str(p) for p in rng.choice(list(dict.fromkeys(prompts)), PER_ROUND, replace=False)]


def wishes(prompt):
    """Return the wished letters, each with +1 (more of it) or -1 (less)."""
    return {w[-1]: 1 if w.startswith("more") else -1 for w in prompt.split(", ")[1:]}


def reward(prompt, answer):
    """Return the mean over the wishes of ± the letter's share of the answer."""
    shares = {letter: answer.count(letter) / max(len(answer), 1) for letter in wishes(prompt)}
    return sum(sign * shares[letter] for letter, sign in wishes(prompt).items()) / len(shares)


def evolve(prompt, rng):
    """Return a child: in depth one wish more, in breadth (1 of 5) of another thing as well.

    It has more wishes than any of its ancestors, so that it is never one of them.
    """
    start, *rest = prompt.split(", ")
    if rng.random() < 0.2:
        start = f"tell of {rng.choice(THINGS)}"
    return ", ".join([start, *rest]) + wish(rng, wishes(prompt))


# ── The policy ────────────────────────────────────────────────────────────────────────────────

SYMBOLS = "$>abcdefghijklmnopqrstuvwxyz ,."  # $ ends an answer, > comes before it
END = 0


def make_model():
    """Return a random Llama in float64, so that two ways to compute a loss can be told equal."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(SYMBOLS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=END,
    )
    return LlamaForCausalLM(config).double().eval()


def encode(prompt):
    return [SYMBOLS.index(c) for c in prompt + ">"]


def decode(ids):
    return "".join(SYMBOLS[i] for i in ids if i != END)


def logits_of(model, rows):
    """Return the logits of ragged rows of tokens, padded on the right, which no token looks at."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[END] * (width - len(row))] for row in rows])
    return model(ids, use_cache=False).logits


@torch.no_grad()
def answer(model, prompts, stage):
    """Return N answers per prompt, as token ids: all of them grow by a token at a time."""
    rows = [encode(prompt) for prompt in prompts for _ in range(N)]
    draws = [stream(*stage, name_of(p), i).random(LIMIT) for p in prompts for i in range(N)]
    answers = [[] for _ in rows]
    for step in range(LIMIT):
        live = [i for i, ids in enumerate(answers) if not ids or ids[-1] != END]
        if not live:
            break
        logits = logits_of(model, [rows[i] for i in live])
        for row, i in enumerate(live):
            likeliest = log_softmax(logits[row, len(rows[i]) - 1], -1).exp().sort(descending=True)
            mass = likeliest.values.cumsum(0)
            rank = int(torch.searchsorted(mass, draws[i][step] * mass[-1], right=True))
            token = int(likeliest.indices[rank])
            answers[i].append(token)
            rows[i].append(token)
    return [answers[i : i + N] for i in range(0, len(answers), N)]


def score(prompts, answers):
    """Return the rewards, (prompts, N)."""
    return np.array(
        [
            [reward(p, decode(ids)) for ids in group]
            for p, group in zip(prompts, answers, strict=True)
        ]
    )


# ── The creator: estimate, sample, evolve, mix ────────────────────────────────────────────────


def informativeness(rewards):
    """Return best minus worst reward, A*_min, (prompts, N) -> (prompts,).

    It stands for the regret, what the best answer has over what the policy does: little for a
    prompt whose answers are all good, and for one whose answers are all bad.
    """
    return rewards.max(axis=1) - rewards.min(axis=1)


def sample(info, k, rng):
    """Draw k indices in proportion to the min-max normalised metric, without replacement.

    The largest of log-weight + Gumbel noise is a draw in proportion to the weights, and so is the
    next largest among those left. Weights of 0 come last.
    """
    spread = np.ptp(info)
    weights = (info - info.min()) / spread if spread else info * 0
    keys = rng.gumbel(size=len(info))
    keys[weights > 0] += np.log(weights[weights > 0])
    return np.lexsort((-keys, weights == 0))[:k]


def evolve_all(seeds, t):
    """Return four children of each seed: each is evolved from the one before, and all are kept."""
    families = []
    for seed in seeds:
        line = [seed]
        for step in range(CHILDREN):
            rng = stream(SEED, t, "creator/evolve", name_of(line[-1]), step)
            line.append(evolve(line[-1], rng))
        families.append(line[1:])
    return families


def mix(families, originals, rng):
    """Return as many prompts as there are originals, 80 % evolved, in random order.

    The paper does not say which evolved prompts go. Here every seed gives as equally many as it
    can: first one child of each seed, then another of each.
    """
    order = rng.permutation(len(families))
    shuffled = [[families[f][i] for i in rng.permutation(CHILDREN)] for f in order]
    children = list(dict.fromkeys(family[i] for i in range(CHILDREN) for family in shuffled))
    others = [originals[i] for i in rng.permutation(len(originals))]
    others = [prompt for prompt in others if prompt not in children]
    size = len(originals)
    evolved = min(len(children), max(round(size * EVOLVED), size - len(others)))
    taken = [*children[:evolved], *others[: size - evolved]]
    return [taken[i] for i in rng.permutation(len(taken))]


# ── The solver: pair, train ───────────────────────────────────────────────────────────────────


def pair(prompts, answers, rewards):
    """Return (prompt, best answer, worst answer) of every prompt that has a contrast.

    A tie is no pair: its gradient would be noise. An answer that was cut off at the limit is never
    the best one: the policy would learn not to end.
    """
    pairs = []
    for prompt, group, r in zip(prompts, answers, rewards, strict=True):
        ended = [i for i in range(N) if group[i][-1] == END]
        best = max(ended, key=lambda i: r[i], default=None)
        if best is not None and r[best] > r.min():
            pairs.append((prompt, group[best], group[int(r.argmin())]))
    return pairs


def logprob(model, pairs, which):
    """Return log pi(answer | prompt) of the chosen (1) or rejected (2) answers, (pairs,)."""
    prompts, answers = [encode(pair[0]) for pair in pairs], [pair[which] for pair in pairs]
    logits = logits_of(model, [p + a for p, a in zip(prompts, answers, strict=True)])
    values = []
    for row, p, a in zip(logits, prompts, answers, strict=True):
        predicting = log_softmax(row[len(p) - 1 : len(p) + len(a) - 1], -1)
        values.append(predicting[range(len(a)), a].sum())
    return torch.stack(values)


def dpo(chosen, rejected, reference_chosen, reference_rejected):
    """Return -log sigmoid(beta (D_w - D_l)), D the log-ratio to the reference, (pairs,)."""
    return -logsigmoid(BETA * ((chosen - reference_chosen) - (rejected - reference_rejected)))


def train(model, pairs, t):
    """Train on the pairs and return the loss of every update.

    The reference is the policy that the round starts from: the first loss is log 2.
    """
    reference = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0)
    losses = []
    for epoch in range(EPOCHS):
        order = stream(SEED, t, "solver/train", "order", epoch).permutation(len(pairs))
        for start in range(0, len(order), BATCH):
            batch = [pairs[i] for i in order[start : start + BATCH]]
            with torch.no_grad():
                known = [logprob(reference, batch, which) for which in (1, 2)]
            loss = dpo(*[logprob(model, batch, which) for which in (1, 2)], *known).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
    return losses


# ── The game ──────────────────────────────────────────────────────────────────────────────────


def rounds(model, until):
    """Play rounds 1 to `until`, and yield what happened in each.

    theta_0 answers human prompts and becomes theta_1; from then on the prompts of a round evolve
    from those of the round before.
    """
    prompts = human_prompts()
    for t in range(1, until + 1):
        info = None
        if t > 1:
            answers = answer(model, prompts, (SEED, t, "creator/answer"))
            info = informativeness(score(prompts, answers))
            drawn = sample(info, round(FRACTION * len(prompts)), stream(SEED, t, "creator/sample"))
            families = evolve_all([prompts[i] for i in drawn], t)
            prompts = mix(families, prompts, stream(SEED, t, "creator/mix"))
        # answered afresh, originals too: the answers that chose a prompt were lucky or unlucky
        answers = answer(model, prompts, (SEED, t, "solver/answer"))
        rewards = score(prompts, answers)
        pairs = pair(prompts, answers, rewards)
        yield {
            "prompts": prompts,
            "info": info,
            "rewards": rewards,
            "pairs": pairs,
            "losses": train(model, pairs, t),
        }


def main(until=4):
    torch.set_num_threads(1)
    model, human = make_model(), human_prompts()

    def measure():
        return score(human, answer(model, human, ("measure",))).mean()

    print("X_1 has prompts such as", *human[:3], sep="\n   ")
    print(f"\nmean reward of theta_0 on X_1: {measure():+.4f}\n")
    print("round  pairs  first and last loss  a prompt of the round, and the last answer chosen")
    for t, record in enumerate(rounds(model, until), start=1):
        prompt, chosen, _ = record["pairs"][-1]
        first, last = record["losses"][0], record["losses"][-1]
        print(f"{t:5d}  {len(record['pairs']):5d}  {first:9.4f} {last:9.4f}  {prompt!r}")
        print(f"{'':35s}{decode(chosen)!r}   mean reward on X_1 {measure():+.4f}")


if __name__ == "__main__":
    main()
