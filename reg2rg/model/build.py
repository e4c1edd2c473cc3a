"""Puts the parts of the model together, at the published sizes or at small ones."""

from torch import nn

from reg2rg.errors import InputError
from reg2rg.intensity import MODEL_WINDOW, OUTSIDE_HU, HUWindow
from reg2rg.model.config import LanguageConfig, LoRAConfig, PerceiverConfig, Reg2RGConfig, ViTConfig
from reg2rg.model.language import build_language_model, text_embedding
from reg2rg.model.mask_encoder import MaskEncoder
from reg2rg.model.perceiver import Perceiver
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.model.vit3d import ViT3D
from reg2rg.regions import REGIONS


def build_model(config: Reg2RGConfig) -> Reg2RG:
    """A model with fresh weights, drawn from torch's global random state.

    Raises:
        InputError: if the language model cannot be made, or its vocabulary is smaller than the text's.
    """
    return assemble(config, build_language_model(config.language))


def assemble(config: Reg2RGConfig, language: nn.Module) -> Reg2RG:
    """A model around a language model that exists already; the other parts are fresh.

    Raises:
        InputError: if the language model's vocabulary is smaller than the text's.
    """
    vocabulary, embedding = text_embedding(language).weight.shape
    if vocabulary < config.text_vocabulary_size:
        raise InputError(
            f"text_vocabulary_size: {config.text_vocabulary_size} ids are too many for the language model's "
            f"{vocabulary} embeddings"
        )
    return Reg2RG(
        config,
        vision=ViT3D(config.vision),
        perceiver=Perceiver(config.perceiver, config.vision.width),
        project_crops=nn.Linear(config.vision.width, embedding),
        mask_encoder=MaskEncoder(ViT3D(config.mask_encoder)),
        project_masks=nn.Linear(config.mask_encoder.width, embedding),
        language=language,
    )


def published() -> Reg2RGConfig:
    """The sizes of the published model: RadFM's vision encoder, Llama-2-7B with LoRA on q and v (paper, section IV)."""
    llama_2_7b = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }
    return Reg2RGConfig(
        crop_size_xyz=(256, 256, 64),
        window=MODEL_WINDOW,
        outside_hu=float(OUTSIDE_HU),
        grid_spacing_mm=(1.0, 1.0, 3.0),
        vision=ViTConfig(
            patch_size_xyz=(32, 32, 4),
            position_rows_xyz=(16, 16, 128),
            channels=3,
            width=768,
            depth=12,
            heads=8,
            head_dim=64,
            mlp_width=2048,
            dropout=0.1,
        ),
        perceiver=PerceiverConfig(latents=32, depth=6, heads=8, head_dim=64, mlp_width=4 * 768),
        mask_encoder=ViTConfig(
            patch_size_xyz=(32, 32, 16),
            position_rows_xyz=(8, 8, 4),
            channels=1,
            width=255,
            depth=3,
            heads=8,
            head_dim=64,
            mlp_width=512,
            dropout=0.1,
        ),
        language=LanguageConfig(llama_2_7b, LoRAConfig(rank=8, alpha=32, dropout=0.1, targets=("q_proj", "v_proj"))),
        max_regions=len(REGIONS),
        text_vocabulary_size=32000,
    )


_PHANTOM_WINDOW = HUWindow(-1000, 600)
"""The published one ends at 200 HU, below blood with contrast: plaques would vanish in it."""


_STEM_WINDOWS = (HUWindow(-1000, -400), HUWindow(-160, 240), HUWindow(200, 600))
"""Lung, soft tissue, calcium: a plaque is one of few bright voxels in the last, and next to nothing in the whole."""

_SPHERE_WINDOW = HUWindow(-960, 120)
"""From well-aerated lung to soft tissue: what stands alone among lung and vessels."""


def phantom(text_vocabulary_size: int) -> Reg2RGConfig:
    """The sizes of the shipped model of the phantom world: a few megabytes, trained from scratch on a laptop."""
    return Reg2RGConfig(
        crop_size_xyz=(64, 48, 64),
        window=_PHANTOM_WINDOW,
        outside_hu=float(OUTSIDE_HU),
        grid_spacing_mm=None,
        vision=ViTConfig(
            (8, 8, 8),
            (8, 6, 8),
            channels=1,
            width=144,
            depth=3,
            heads=3,
            head_dim=48,
            mlp_width=432,
            dropout=0.0,
            stem_channels=(16, 32),
            stem_windows=tuple(_part_of_scale(window, _PHANTOM_WINDOW) for window in _STEM_WINDOWS),
            stem_spheres=(2, 3, 4),
            stem_sphere_window=_part_of_scale(_SPHERE_WINDOW, _PHANTOM_WINDOW),
        ),
        perceiver=PerceiverConfig(latents=8, depth=2, heads=3, head_dim=48, mlp_width=432),
        mask_encoder=ViTConfig(
            (16, 12, 16), (4, 4, 4), channels=1, width=96, depth=2, heads=3, head_dim=32, mlp_width=192, dropout=0.0
        ),
        language=LanguageConfig(
            _llama(text_vocabulary_size, width=256, mlp_width=704, depth=4, heads=4, kv_heads=2), lora=None
        ),
        max_regions=len(REGIONS),
        text_vocabulary_size=text_vocabulary_size,
    )


def _part_of_scale(part: HUWindow, whole: HUWindow) -> tuple[float, float]:
    """Where a window begins and ends once the whole one is scaled to -1 to 1."""
    center, half = (whole.low + whole.high) / 2, (whole.high - whole.low) / 2
    return (part.low - center) / half, (part.high - center) / half


def tiny(text_vocabulary_size: int = 128) -> Reg2RGConfig:
    """The smallest sizes that still use every part, for tests."""
    return Reg2RGConfig(
        crop_size_xyz=(16, 16, 8),
        window=MODEL_WINDOW,
        outside_hu=float(OUTSIDE_HU),
        grid_spacing_mm=None,
        vision=ViTConfig(
            (8, 8, 4), (4, 2, 4), channels=1, width=24, depth=2, heads=2, head_dim=8, mlp_width=48, dropout=0.0
        ),
        perceiver=PerceiverConfig(latents=4, depth=2, heads=2, head_dim=8, mlp_width=48),
        mask_encoder=ViTConfig(
            (8, 8, 8), (2, 2, 1), channels=1, width=12, depth=1, heads=2, head_dim=8, mlp_width=24, dropout=0.0
        ),
        language=LanguageConfig(
            _llama(text_vocabulary_size, width=32, mlp_width=64, depth=2, heads=2, kv_heads=2), lora=None
        ),
        max_regions=len(REGIONS),
        text_vocabulary_size=text_vocabulary_size,
    )


def _llama(vocabulary: int, width: int, mlp_width: int, depth: int, heads: int, kv_heads: int) -> dict[str, object]:
    """Fewer heads of keys and values than of queries (Ainslie et al., EMNLP 2023) make decoding together cheaper."""
    return {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": mlp_width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }
