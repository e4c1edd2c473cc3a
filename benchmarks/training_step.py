"""A training step: the published way against ours, with the same language model and the same weights.

    python benchmarks/training_step.py [--rounds 5] [--layers 1] [--device cpu] [--small] [--profile]
        [--curve FILE.png --steps 100]

The published encoders before one layer of Llama-2-7B with LoRA (`--layers` for more: the encoders' share falls with
each), one study of ten regions, 544 tokens of prompt and 450 of answer. The published way encodes every crop in each
step (dropout on, although frozen), multiplies a one-hot matrix out, pads to 2048 and makes scores of all places. Ours
reads kept patches, pads to the longest and scores the answer. In bfloat16, too, where the device has units for it.
`--curve` draws both losses over some steps of the tiny sizes, from the same seed and without dropout.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from fair import in_turn, machine, profiles, table
from published import encode_crops, encode_masks, one_hot_embeddings
from torch import Tensor

from reg2rg.model.build import build_model, published, tiny
from reg2rg.model.config import LoRAConfig, Reg2RGConfig
from reg2rg.model.precision import multiplies_bf16
from reg2rg.model.reg2rg import Reg2RG, freeze_as_published
from reg2rg.train.report import ReportTrainee
from reg2rg.vocabulary import IGNORED_LABEL

REGIONS, PROMPT, ANSWER, PADDED = 10, 544, 450, 2048


class Study:
    """Random crops, a prompt and an answer, and the frozen encoder's patches of the crops."""

    def __init__(self, model: Reg2RG, seed: int, device: str) -> None:
        draw = torch.Generator().manual_seed(seed)
        size, tokens = model.config.crop_size_xyz, model.config.tokens
        v = model.config.text_vocabulary_size
        self.crops = (torch.rand(1 + REGIONS, *size, generator=draw) * 2 - 1).to(device)
        self.masks = torch.rand(REGIONS, *size, generator=draw).to(device)
        ids = [1, v, *(v + row for row in tokens.image_rows), v + 1]
        for slot in range(REGIONS):
            ids += [5, v + 2, *(v + row for row in tokens.region_rows(slot)), v + 3]
        ids += torch.randint(3, 100, (max(PROMPT - len(ids), 0),), generator=draw).tolist()
        answer = [(7 * place + seed) % 90 + 4 for place in range(ANSWER)]
        self.ids = torch.tensor(ids + answer, device=device)
        self.labels = torch.tensor([IGNORED_LABEL] * len(ids) + answer, device=device)
        with torch.no_grad():
            self.patches = model.eval().read_voxels(self.crops).half()
        model.train()


def their_loss(model: Reg2RG, study: Study) -> Tensor:
    """Everything from voxels, padded to 2048."""
    image, *textures = encode_crops(model, list(study.crops))
    regions = list(zip(textures, encode_masks(model, list(study.masks)), strict=True))
    padding = PADDED - len(study.ids)
    ids = torch.nn.functional.pad(study.ids, (0, padding))
    labels = torch.nn.functional.pad(study.labels, (0, padding), value=IGNORED_LABEL)
    attention = torch.nn.functional.pad(torch.ones_like(study.ids), (0, padding))
    embeddings = one_hot_embeddings(model, ids, image, regions)
    return model.language(
        inputs_embeds=embeddings[None], attention_mask=attention[None], labels=labels[None], use_cache=False
    ).loss


def our_loss(model: Reg2RG, study: Study) -> Tensor:
    """From kept patches, as long as the study is."""
    trainee = ReportTrainee(model, ("vision",))
    image, textures = study.patches[:1], study.patches[1:]
    return trainee(study.ids[None], study.labels[None], image, textures, study.masks, [REGIONS])["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=1, help="of the language model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see whether this script works")
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead")
    parser.add_argument("--curve", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    if args.curve:
        draw_curve(args.curve, args.steps)
        return
    model = make_model(small_config() if args.small else config(args.layers), args.device)
    study = Study(model, 0, args.device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-9)

    def step(loss: Callable[[Reg2RG, Study], Tensor], bf16: bool = False) -> None:
        with torch.autocast(args.device, torch.bfloat16, enabled=bf16):
            value = loss(model, study)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    ways: dict[str, Callable[[], object]] = {
        "published, fp32": lambda: step(their_loss),
        "ours, fp32": lambda: step(our_loss),
    }
    if multiplies_bf16(torch.device(args.device)):
        ways["published, bf16"] = lambda: step(their_loss, bf16=True)
        ways["ours, bf16"] = lambda: step(our_loss, bf16=True)
    if args.profile:
        print(profiles({name: way for name, way in ways.items() if name.endswith("fp32")}))
        return
    timings = in_turn(ways, args.rounds)
    print(f"{machine(args.device)}\n\nOne study a step, {len(study.ids)} tokens, {args.layers} layers\n")
    print(table(timings, "published, fp32"))


def config(layers: int) -> Reg2RGConfig:
    """The published sizes with few layers of the language model."""
    sizes = published()
    architecture = {**sizes.language.architecture, "num_hidden_layers": layers}
    return replace(sizes, language=replace(sizes.language, architecture=architecture))


def small_config() -> Reg2RGConfig:
    """Tiny sizes with LoRA."""
    sizes = tiny()
    return replace(sizes, language=replace(sizes.language, lora=LoRAConfig(4, 8, 0.0, ("q_proj", "v_proj"))))


def make_model(sizes: Reg2RGConfig, device: str) -> Reg2RG:
    """Fresh weights of a fixed seed, those trained that the paper trains."""
    torch.manual_seed(0)
    model = build_model(sizes)
    freeze_as_published(model)
    return model.to(device)


def draw_curve(path: Path, steps: int) -> None:
    """Losses of both ways over the same studies in the same order."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    curves = []
    for name, loss, style in (("published", their_loss, "-"), ("ours", our_loss, "--")):
        model = make_model(small_config(), "cpu")
        studies = [Study(model, seed, "cpu") for seed in range(8)]
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
        losses = []
        for step in range(steps):
            value = loss(model, studies[step % len(studies)])
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(value.item())
        axes.plot(losses, style, label=name)
        curves.append(torch.tensor(losses))
        print(f"{name}: first {losses[0]:.4f}, last {losses[-1]:.4f}")
    print(f"largest difference {(curves[0] - curves[1]).abs().max():.1e}")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
