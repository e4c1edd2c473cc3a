"""Decoding at the shape of Llama-2-7B with random weights: one text against the floor, and many together.

    python benchmarks/decoding.py [--layers 32] [--rows 16] [--prompt 544] [--tokens 200] [--rounds 5] [--device auto]
        [--compiled]

The floor of one text: each token reads every weight once, at the best rate at which this device sums a matrix of 1 GiB
or multiplies it by a vector. bfloat16 on a GPU, float32 on a CPU, where fewer `--layers` fit. Every text is as long as
all others. What is written is not compared: random weights believe nothing (tests/model/test_decode.py and
test_compiled.py compare).
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from fair import in_turn, machine, table
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from reg2rg.generate import find_device
from reg2rg.model.compiled import CompiledEngine
from reg2rg.model.decode import Prompt, Written, write_on

PLAIN = "one at a time, Hugging Face's generate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rows", type=int, default=16, help="texts, and how many are written together")
    parser.add_argument("--prompt", type=int, default=544, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=200, help="of each text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compiled", action="store_true", help="by compiled steps, too")
    args = parser.parse_args()

    if args.tokens < 2:
        parser.error("--tokens: expected at least 2")
    device = find_device(args.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    with device:
        language = LlamaForCausalLM._from_config(
            LlamaConfig(num_hidden_layers=args.layers), dtype=dtype, attn_implementation="sdpa"
        ).eval()
        prompts = torch.randn(args.rows, args.prompt, language.config.hidden_size, dtype=dtype)
    writers: dict[str, Callable[..., Iterator[Written]]] = {"ours": partial(write_on, language)}
    if args.compiled:
        writers["compiled"] = CompiledEngine(language).write_on

    ways: dict[str, Callable[[], object]] = {}
    for length in (1, args.tokens):
        ways[f"{PLAIN}, {length}"] = partial(by_hugging_face, language, prompts[0], length)
        for name, writer in writers.items():
            for rows in sorted({1, args.rows}):
                together = partial(together_by, writer, prompts[:rows], length)
                ways[f"{rows} at a time, {name}, {length}"] = together
    timings = in_turn(ways, args.rounds)
    whole = f", {args.tokens}"
    texts = {name.removesuffix(whole): timing for name, timing in timings.items() if name.endswith(whole)}
    print(f"{machine(device.type)}; {args.layers} layers, {args.prompt} tokens before {args.tokens}\n")
    print(table(texts, PLAIN))
    floor = weight_bytes(language) / bandwidth(device)
    print(f"\nfloor: {floor * 1e3:.2f} ms a token\n")
    columns = ("way", "texts an hour", "times as many", "ms a token", "share of the floor")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, timing in texts.items():
        rows = 1 if name == PLAIN else int(name.split()[0])
        each = (timing.wall_s - timings[f"{name}, 1"].wall_s) / (args.tokens - 1)
        share = f"{floor / each:.0%}" if rows == 1 else "-"
        more = texts[PLAIN].wall_s * rows / timing.wall_s
        print(f"| {name} | {3600 * rows / timing.wall_s:.0f} | {more:.1f} | {each * 1e3:.2f} | {share} |")


@torch.inference_mode()
def by_hugging_face(language: Any, prompt: Tensor, length: int) -> None:
    """One text, with the defaults of `generate`."""
    config = GenerationConfig(max_new_tokens=length, do_sample=False, eos_token_id=None, pad_token_id=0)
    mask = torch.ones(1, len(prompt), dtype=torch.long, device=prompt.device)
    language.generate(inputs_embeds=prompt[None], attention_mask=mask, generation_config=config)


def together_by(writer: Callable[..., Iterator[Written]], prompts: Tensor, length: int) -> None:
    """All texts together."""
    written = writer(map(Prompt, prompts), rows=len(prompts), eos_id=-1, max_new_tokens=length)
    assert [len(ids) for _, ids in written] == [length] * len(prompts)


def weight_bytes(language: Any) -> int:
    """Of what a token reads: all weights but the table of embeddings."""
    table = language.get_input_embeddings().weight
    return sum(weight.nbytes for weight in language.parameters() if weight is not table)


def bandwidth(device: torch.device) -> float:
    """Bytes a second that are read at best, when a large matrix is summed or multiplied by a vector."""
    large, vector = torch.ones(2**14, 2**14, device=device), torch.ones(2**14, device=device)
    ways: dict[str, Callable[[], object]] = {"sum": lambda: large.sum().item(), "product": lambda: large.mv(vector)}
    rounds = [in_turn(ways, rounds=1, warm_up=0) for _ in range(10)]
    return large.nbytes / min(timing.wall_s for timings in rounds for timing in timings.values())


if __name__ == "__main__":
    main()
