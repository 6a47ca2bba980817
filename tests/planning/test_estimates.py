import pytest

from eva.app.load import parse_config
from eva.engines.memory import read_shape
from eva.planning import estimates
from eva.planning.counting import count_evaluation, count_rounds

BASE = {
    "rounds": 1,
    "policy": {"model": "m", "train_tokens": 64},
    "prompts": {"source": "p", "per_round": 10},
    "answers": {"n": 2, "max_tokens": 50},
    "reward": {"name": "python", "function": "m:f"},
    "solver": {"objective": "dpo", "epochs": 3},
    "evaluation": {"when": "never"},
}


def game_of(**changes):
    return parse_config({k: BASE.get(k, {}) | changes.get(k, {}) if isinstance(BASE.get(k, {}),
                         dict) else BASE[k] for k in BASE | changes})  # fmt: skip


@pytest.fixture(scope="module")
def shape(tiny_folder):
    return read_shape(str(tiny_folder))


def test_weights_and_moments_in_bytes(shape):
    found = estimates.memory(game_of(), shape, prompt=10)
    assert found["weights"] == 4 * shape.parameters
    assert found["optimiser"] == 8 * shape.parameters
    assert found["peak"] == max(found["training"], found["answering"])
    rms = estimates.memory(game_of(solver={"optimiser": "rmsprop"}), shape, prompt=10)
    assert rms["optimiser"] == 4 * shape.parameters


@pytest.mark.parametrize(("able", "as_if"), [({}, "same"), ({"amx_bf16": True}, "bfloat16")])
def test_an_automatic_type_is_that_of_the_device(shape, monkeypatch, able, as_if):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: able)
    auto, told = (
        estimates.memory(
            game_of(policy={"device": "cpu", "generation_dtype": name}), shape, prompt=10
        )
        for name in ("auto", as_if)
    )
    assert auto == told


def test_a_pair_longer_than_a_micro_batch_counts_whole(shape):
    small, pair = game_of(), 2 * (10 + 50)
    large = game_of(policy={"train_tokens": pair})
    assert estimates.memory(small, shape, prompt=10) == estimates.memory(large, shape, prompt=10)
    assert estimates.pair_tokens(small, 10) == pair


def test_sharding_divides_what_is_resident(shape):
    alone = estimates.memory(game_of(), shape, prompt=10)
    run = {"processes": 4, "strategy": "fsdp2"}
    shared = estimates.memory(game_of(run=run), shape, prompt=10)
    saved = alone["training"] - shared["training_per_process"]
    resident = 4 * (4 * shape.parameters)
    assert saved == pytest.approx(resident * 3 / 4, abs=4)


def test_disk_by_hand(shape):
    game = game_of(rounds=1)
    rounds = count_rounds(game, 10)
    found = estimates.disk(game, shape, rounds)
    assert found["policies"] == 4 * shape.parameters
    assert found["checkpoints"] == 2 * 12 * shape.parameters
    assert found["rollouts"] == 10 * 2 * 50 * 14
    adapters = estimates.disk(game_of(policy={"lora": {"rank": 1}}), shape, rounds)
    assert adapters["policies"] == 4 * sum(i + o for i, o in shape.linears)


def test_seconds_by_hand(shape):
    game = game_of()
    rounds = count_rounds(game, 10)
    found = estimates.seconds(
        game, shape, rounds, evaluation=count_evaluation(game, 0), prompt=7, rate=1e9, device="cpu"
    )
    flops, decode, train = 2 * shape.parameters, 0.35e9, 0.8e9
    # 10 prompts, 2 answers of 25 tokens of at most 50
    assert found["answer"] == pytest.approx(flops * (500 / decode + 70 / train))
    assert found["reference"] == pytest.approx(flops * (500 + 70) / train)
    assert found["train"] == pytest.approx(3 * flops * 3 * (500 + 70) / train)
    assert found["evaluate"] == found["rewrite"] == 0
    assert found["total"] == pytest.approx(sum(v for k, v in found.items() if k != "total"))


def test_the_machine_is_measured_and_left_as_it_was():
    import torch

    before = torch.get_num_threads()
    assert estimates.matmul_rate("cpu", "float32", budget_s=0.0, threads=before + 1) > 1e6
    assert torch.get_num_threads() == before
    assert estimates.free_bytes("cpu") > 0
