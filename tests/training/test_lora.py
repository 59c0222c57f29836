"""Adapters: what learns, what stays, and that nothing of them is left in the network that is served."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GPTNeoXConfig,
    PreTrainedModel,
    RobertaConfig,
)

from training.lora import Lora, ensure_padding, loading_options, merged, with_adapters
from worker.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("one_thread")

HIDDEN, LAYERS, LABELS, VOCABULARY = 32, 2, 7, 40
_SHARED: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "num_labels": LABELS,
    "initializer_range": 0.2,
}
CONFIGURATIONS: dict[str, Any] = {
    "bert": BertConfig(**_SHARED),
    "roberta": RobertaConfig(**_SHARED, pad_token_id=1),
    "gpt_neox": GPTNeoXConfig(**_SHARED, pad_token_id=1),
    "distilbert": DistilBertConfig(**_SHARED, hidden_dim=64),
}
HEADS = {
    "bert": HIDDEN * LABELS + LABELS,
    "roberta": HIDDEN * HIDDEN + HIDDEN + HIDDEN * LABELS + LABELS,
    "gpt_neox": HIDDEN * LABELS,
    "distilbert": HIDDEN * HIDDEN + HIDDEN + HIDDEN * LABELS + LABELS,
}
"""Parameters of each classification head."""
OUTPUTS = {"bert": 2 * HIDDEN, "roberta": 2 * HIDDEN, "distilbert": 2 * HIDDEN, "gpt_neox": 3 * HIDDEN}
"""Of the adapted layers of one transformer layer, together."""


architectures = pytest.mark.parametrize("architecture", CONFIGURATIONS)


def network(configuration: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(configuration)  # type: ignore[no-untyped-call] # transformers' own
    assert isinstance(model, PreTrainedModel)
    return model


def inputs() -> dict[str, torch.Tensor]:
    """Three texts of five to nine tokens, filled up with 1."""
    ids = torch.randint(3, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, tokens in enumerate((5, 9, 7)):
        ids[row, tokens:], mask[row, tokens:] = 1, 0
    return {"input_ids": ids, "attention_mask": mask}


def answers(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(**inputs()).logits
    return logits


def train(model: torch.nn.Module) -> None:
    """Three steps."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=0.05)
    model.train()
    for _ in range(3):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(**inputs()).logits, torch.tensor([0, 1, 2]))
        loss.backward()  # type: ignore[no-untyped-call] # torch's own, untyped
        optimiser.step()


@architectures
def test_adapters_and_head_learn_and_nothing_else(architecture: str) -> None:
    plain = network(CONFIGURATIONS[architecture])
    before = {name: value.clone() for name, value in plain.named_parameters()}
    head = [name for name in before if not name.startswith(f"{plain.base_model_prefix}.")]

    adapted = with_adapters(plain, Lora(rank=4))
    train(adapted)

    with_gradient = {name for name, value in adapted.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name, value in adapted.named_parameters() if value.requires_grad}
    assert all("lora_" in name or "modules_to_save" in name for name in with_gradient)
    learnt = sum(value.numel() for value in adapted.parameters() if value.requires_grad)
    assert learnt == LAYERS * adapters(architecture, rank=4) + HEADS[architecture]
    after = dict(merged(adapted).named_parameters())
    assert all(not torch.equal(after[name], before[name]) for name in head)


def adapters(architecture: str, rank: int) -> int:
    """Parameters of the adapters in one transformer layer: rank x (inputs + outputs) of each."""
    layers = 1 if architecture == "gpt_neox" else 2
    return rank * (layers * HIDDEN + OUTPUTS[architecture])


@architectures
def test_before_training_the_answers_are_those_of_the_network_as_it_was(architecture: str) -> None:
    plain = network(CONFIGURATIONS[architecture])
    expected = answers(plain)

    assert torch.equal(answers(with_adapters(plain, Lora())), expected)


@architectures
def test_merging_changes_no_answer_and_leaves_a_plain_network(architecture: str, tmp_path: Path) -> None:
    plain = network(CONFIGURATIONS[architecture])
    untrained, kind = answers(plain), type(plain)
    weights = set(plain.state_dict())
    adapted = with_adapters(plain, Lora(rank=4, alpha=8))
    train(adapted)
    expected = answers(adapted)
    assert not torch.allclose(expected, untrained, atol=0.01)

    result = merged(adapted)

    assert type(result) is kind
    assert set(result.state_dict()) == weights
    assert torch.allclose(answers(result), expected, atol=1e-5)
    result.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, use_safetensors=True)
    assert torch.allclose(answers(again), expected, atol=1e-5)


def test_a_training_that_diverged_is_not_merged() -> None:
    adapted = with_adapters(network(CONFIGURATIONS["bert"]), Lora())
    next(value for name, value in adapted.named_parameters() if "lora_B" in name).data.fill_(float("nan"))

    with pytest.raises(ValueError, match="NaNs detected"):
        merged(adapted)


def test_the_layers_of_an_architecture_that_is_not_known_must_be_named() -> None:
    albert = AlbertConfig(**_SHARED, embedding_size=16)

    with pytest.raises(ConfigurationError) as refused:
        with_adapters(network(albert), Lora())

    assert str(refused.value).startswith("lora.targets: which layers of albert to adapt is not known here")
    for layer in ("query", "key", "value", "dense"):
        assert layer in str(refused.value).partition("give some of")[2]
    assert "classifier" not in str(refused.value)
    train(with_adapters(network(albert), Lora(targets=["query"])))


def test_layers_that_are_not_there_are_named_beside_those_that_are() -> None:
    wrong = Lora(targets=["query", "q_proj", "uery"])

    with pytest.raises(ConfigurationError, match=r"no linear layer q_proj or uery; give some of .*query"):
        with_adapters(network(CONFIGURATIONS["bert"]), wrong)


def test_a_target_never_reaches_into_the_head() -> None:
    adapted = with_adapters(network(CONFIGURATIONS["roberta"]), Lora(targets=["dense"]))

    assert not [name for name, _ in adapted.named_parameters() if "classifier" in name and "lora_" in name]
    assert [name for name, _ in adapted.named_parameters() if ".output.dense.lora_A" in name]


def test_a_base_that_is_not_quantised_is_loaded_as_ever() -> None:
    assert loading_options(Lora()) == {}


def test_four_bits_without_a_gpu_say_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ConfigurationError, match=r"QLoRA\) needs an NVIDIA GPU .*set quantised = false"):
        loading_options(Lora(quantised=True))


def test_four_bits_without_bitsandbytes_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("training.lora.importlib.util.find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"pip install 'moodstream\[qlora\]'\); or set") as refused:
        loading_options(Lora(quantised=True))

    assert "GPU" not in str(refused.value)


def test_four_bits_are_nf4_and_leave_the_head_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("training.lora.importlib.util.find_spec", lambda _: object())
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.50.2" if name == "bitsandbytes" else version(name)
    )

    options = loading_options(Lora(quantised=True))

    four_bits = options["quantization_config"]
    assert (four_bits.load_in_4bit, four_bits.bnb_4bit_quant_type) == (True, "nf4")
    assert four_bits.bnb_4bit_use_double_quant
    assert options["device_map"] == {"": 0}
    for configuration in CONFIGURATIONS.values():
        model = network(configuration)
        head = {name for name, _ in model.named_children()} - {model.base_model_prefix, "dropout"}
        assert head <= set(four_bits.llm_int8_skip_modules)


def test_adapters_for_four_bits_want_a_base_in_four_bits() -> None:
    with pytest.raises(ValueError, match="loading_options"):
        with_adapters(network(CONFIGURATIONS["bert"]), Lora(quantised=True))


def tokenizer(*names: str) -> Tokenizer:
    return Tokenizer(WordLevel({name: index for index, name in enumerate(("the", *names))}, unk_token="the"))


def test_a_network_without_padding_gets_its_tokenizers() -> None:
    model = network(GPTNeoXConfig(**_SHARED))
    with pytest.raises(ValueError, match="padding"):
        answers(model)

    assert ensure_padding(model, tokenizer("<|endoftext|>", "<|padding|>")) == 2

    model.config.pad_token_id = 1  # What `inputs` fills up with.
    alone = {name: value[:1, :5] for name, value in inputs().items()}
    assert torch.allclose(model(**alone).logits[0], answers(model)[0], atol=1e-5)


def test_an_end_of_text_does_for_padding_and_a_known_one_stays() -> None:
    model = network(GPTNeoXConfig(**_SHARED))
    assert ensure_padding(model, tokenizer("<|endoftext|>")) == 1
    assert model.config.pad_token_id == 1
    assert ensure_padding(network(CONFIGURATIONS["bert"]), tokenizer("<|padding|>")) == 0


def test_a_tokenizer_without_padding_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no token for padding"):
        ensure_padding(network(GPTNeoXConfig(**_SHARED)), tokenizer())


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"rank": 0}, "rank"),
        ({"alpha": 0}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"targets": []}, "targets"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(wrong, Lora)
