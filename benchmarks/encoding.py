"""Encoding a study and assembling its prompt: the published way against ours, on the same random weights.

    python benchmarks/encoding.py [--rounds 5] [--absent 0] [--device cpu] [--small] [--profile]

Eleven crops and ten masks at the published sizes. Prints the largest difference beside the times: in fp32 the two
must agree within 2e-5. "bf16 by parts" is what `--bf16` does on devices with units for it, "bf16" are products of
rounded numbers.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from fair import in_turn, machine, profiles, table
from published import encode_crops, encode_masks, one_hot_embeddings
from torch import Tensor

from reg2rg.model.build import build_model, published, tiny
from reg2rg.model.precision import multiplies_bf16
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.model.split_products import SplitProducts

REGIONS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--absent", type=int, default=0, help="regions without a mask; the published way encodes zeros")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see whether this script works")
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = _model(args.small).eval().to(args.device)
    size, present = model.config.crop_size_xyz, REGIONS - args.absent
    crops = torch.rand(1 + REGIONS, *size, device=args.device) * 2 - 1
    crops[1 + present :] = 0
    masks = torch.rand(REGIONS, *size, device=args.device)
    masks[present:] = 0
    ids = _prompt(model, present).to(args.device)

    def theirs() -> Tensor:
        with torch.inference_mode():
            image, *textures = encode_crops(model, list(crops))
            regions = list(zip(textures, encode_masks(model, list(masks)), strict=True))
            return one_hot_embeddings(model, ids, image, regions)

    def ours() -> Tensor:
        with torch.inference_mode():
            return model.embed(ids[None], crops[:1], crops[1 : 1 + present], masks[:present], [present])[0]

    def by_parts() -> Tensor:
        with SplitProducts():
            return ours()

    def rounded() -> Tensor:
        with torch.autocast(args.device, torch.bfloat16):
            return ours()

    units = "units" if multiplies_bf16(torch.device(args.device)) else "no units"
    print(f"{machine(args.device)}, {units} for bfloat16\n")
    print(f"Encoding 1 image and {present} regions, prompt of {len(ids)} tokens\n")
    plain = theirs()
    ours_in = {"fp32": ours, "bf16 by parts": by_parts, "bf16": rounded}
    for name, way in ours_in.items():
        apart = (way().float() - plain).abs()
        print(f"ours in {name}: largest difference {apart.max():.1e}, relative {apart.norm() / plain.norm():.1e}")
    encoding: dict[str, Callable[[], object]] = {"published, fp32": theirs}
    encoding |= {f"ours, {name}": way for name, way in ours_in.items()}
    if args.profile:
        print(profiles({name: encoding[name] for name in ("published, fp32", "ours, fp32")}))
        return
    print("\n" + table(in_turn(encoding, args.rounds), "published, fp32"))

    with torch.inference_mode():
        features = model.encode(crops[:1], crops[1 : 1 + present], masks[:present], [present])
    parts = list(zip(features.texture_tokens, features.mask_tokens, strict=True))

    def assemble_theirs() -> Tensor:
        with torch.inference_mode():
            return one_hot_embeddings(model, ids, features.image_tokens[0], parts)

    def assemble_ours() -> Tensor:
        with torch.inference_mode():
            tokens = (features.image_tokens, features.texture_tokens, features.mask_tokens)
            return model.splice(ids[None], *tokens, features.region_counts)

    print("\nAssembling the prompt alone\n")
    assembling: dict[str, Callable[[], object]] = {"published": assemble_theirs, "ours": assemble_ours}
    print(table(in_turn(assembling, args.rounds), "published"))


def _model(small: bool) -> Reg2RG:
    """The published encoders before a language model of one layer: enough for its table of embeddings."""
    config = tiny() if small else published()
    if not small:
        architecture = {**config.language.architecture, "num_hidden_layers": 1}
        config = replace(config, language=replace(config.language, architecture=architecture, lora=None))
    return build_model(config)


def _prompt(model: Reg2RG, regions: int) -> Tensor:
    """Ids of a prompt with its special tokens in their places, and text between them."""
    v, tokens = model.config.text_vocabulary_size, model.config.tokens
    ids = [1, *range(10, 25), v, *(v + row for row in tokens.image_rows), v + 1]
    for slot in range(regions):
        ids += [*range(30, 36), v + 2, *(v + row for row in tokens.region_rows(slot)), v + 3]
    return torch.tensor([*ids, *range(40, 120)])


if __name__ == "__main__":
    main()
