"""Texts written by vLLM, where it is installed: for many studies on a GPU.

vLLM (Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention", SOSP 2023)
reads a language model from a folder of its own and takes prompts as embeddings.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reg2rg.errors import InputError
from reg2rg.files import check_room
from reg2rg.model.config import Sampling
from reg2rg.model.decode import Prompt, Written
from reg2rg.model.language import decoder_layers, one_line
from reg2rg.model.quantities import Quantities
from reg2rg.models import Engine

_MEMORY_SHARE = 0.8  # of a GPU, for vLLM's weights, keys and values; the rest is for the encoders


class VllmEngine:
    """Writes on from prompts as `reg2rg.model.decode.write_on` does, with vLLM's kernels and scheduling.

    What it writes may differ from that in a rounding, and what it draws differs: vLLM draws in its own way.

    Args:
        language: a Hugging Face causal language model without adapters. It is written into a temporary folder for
            vLLM, and its layers are given up; its table of embeddings stays, which prompts are made with.

    Raises:
        InputError: if vLLM cannot use the model, or the temporary folder has no room for it.
    """

    engine: Engine = "vllm"

    def __init__(self, language: Any) -> None:
        import vllm

        self._dtype = next(language.parameters()).dtype
        with TemporaryDirectory(prefix="reg2rg-vllm-") as name:
            size = sum(weight.nbytes for weight in language.parameters())
            check_room(Path(name), size, "weights for vLLM (TMPDIR names the folder)")
            language.save_pretrained(name)
            del decoder_layers(language)[:]
            arguments = vllm.EngineArgs(
                model=name,
                dtype=str(self._dtype).removeprefix("torch."),
                skip_tokenizer_init=True,
                enable_prompt_embeds=True,
                gpu_memory_utilization=_MEMORY_SHARE,
            )
            try:
                self._engine = vllm.LLMEngine.from_engine_args(arguments)
            except Exception as error:  # of many kinds: no device, no memory, an architecture it does not know
                raise InputError(
                    f"engine vllm: vLLM cannot use this language model here ({one_line(error)}); leave --engine out"
                ) from error

    def write_on(
        self,
        prompts: Iterable[Prompt],
        *,
        rows: int,
        eos_id: int,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        quantities: Quantities | None = None,
    ) -> Iterator[Written]:
        """As `reg2rg.model.decode.write_on`.

        Raises:
            InputError: if quantities are to be chosen, which vLLM has no place for.
        """
        import vllm

        check_quantities(quantities is not None)
        drawn: dict[str, Any] = {"temperature": 0.0}
        if sampling is not None:
            drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k or 0}
        waiting = enumerate(prompts)
        begun: set[str] = set()
        try:
            while True:
                for place, prompt in islice(waiting, rows - len(begun)):
                    settings = vllm.SamplingParams(
                        **drawn, seed=prompt.seed, max_tokens=max_new_tokens, stop_token_ids=[eos_id], detokenize=False
                    )
                    embeddings = prompt.embeddings.to("cpu", self._dtype)
                    self._engine.add_request(str(place), {"prompt_embeds": embeddings}, settings)
                    begun.add(str(place))
                if not begun:
                    return
                for output in self._engine.step():
                    if output.finished:
                        begun.remove(output.request_id)
                        yield Written(int(output.request_id), _ids(output.outputs[0], eos_id))
        finally:
            if begun:  # whoever asked for the texts has seen enough of them
                self._engine.abort_request(list(begun))


def _ids(completion: Any, eos_id: int) -> list[int]:
    ids = list(completion.token_ids)
    is_complete = completion.finish_reason == "stop"
    return [*ids, eos_id] if is_complete and ids[-1:] != [eos_id] else ids


def check_quantities(are_chosen: bool) -> None:
    """Raises InputError if words that say how much are not to be taken as they come."""
    if are_chosen:
        raise InputError("engine vllm: cannot write the median of quantities; add --no-median-quantities")
