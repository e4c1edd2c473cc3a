"""The special tokens: where image and regions stand in the prompt, and which ids they have.

They follow the text vocabulary of the language model in one fixed order, which is part of the published checkpoint's
contract: ids and rows of its embedding table depend on it.
"""

from dataclasses import dataclass

IMAGE_OPEN, IMAGE_CLOSE, REGION_OPEN, REGION_CLOSE = "<image>", "</image>", "<region>", "</region>"


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a model, in vocabulary order.

    First the two brackets of the image and the two of a region, then a token for each latent of the image, then for
    each region slot a token per latent (texture) and one more for the mask (geometry). A slot is a region's place in
    the prompt, not one of the ten regions.

    Attributes:
        num_latents: latents per crop; 32 as published.
        max_regions: region slots; 10 as published.

    Raises:
        ValueError: if there is not at least one latent and one slot.

    >>> tokens = SpecialTokens(num_latents=2, max_regions=2)
    >>> len(tokens), " ".join(tokens.strings)
    (12, '<image> </image> <region> </region> <image0> <image1> <region0> <region1> <region2> <region3> ...')
    >>> tokens.ids(text_vocabulary_size=32000)["<image1>"]
    32005
    """

    num_latents: int
    max_regions: int

    def __post_init__(self) -> None:
        if self.num_latents < 1 or self.max_regions < 1:
            raise ValueError(f"at least one latent and one region slot are needed, got {self}")

    def __len__(self) -> int:
        return self.region_rows(self.max_regions - 1).stop

    @property
    def tokens_per_region(self) -> int:
        """Tokens of one region slot: its latents and one for the mask."""
        return self.num_latents + 1

    @property
    def strings(self) -> tuple[str, ...]:
        """All special tokens in vocabulary order."""
        return (
            *(IMAGE_OPEN, IMAGE_CLOSE, REGION_OPEN, REGION_CLOSE),
            *(f"<image{i}>" for i in range(self.num_latents)),
            *(f"<region{i}>" for i in range(self.max_regions * self.tokens_per_region)),
        )

    @property
    def image_rows(self) -> range:
        """Places of the image's latents among the special tokens; plus the text vocabulary's size they are ids."""
        return range(4, 4 + self.num_latents)

    def region_rows(self, slot: int) -> range:
        """Places of one region slot among the special tokens: the latents, and the mask token last.

        Raises:
            ValueError: if there is no such slot.

        >>> SpecialTokens(num_latents=32, max_regions=10).region_rows(1)
        range(69, 102)
        """
        if not 0 <= slot < self.max_regions:
            raise ValueError(f"there are the region slots 0 to {self.max_regions - 1}, got {slot}")
        first = self.image_rows.stop + slot * self.tokens_per_region
        return range(first, first + self.tokens_per_region)

    def ids(self, text_vocabulary_size: int) -> dict[str, int]:
        """The id of each special token behind a text vocabulary of V entries: V, V + 1, V + 2..."""
        return {string: text_vocabulary_size + row for row, string in enumerate(self.strings)}

    @property
    def image_text(self) -> str:
        """The image as it stands in the prompt, brackets included.

        >>> SpecialTokens(num_latents=2, max_regions=1).image_text
        '<image><image0><image1></image>'
        """
        return IMAGE_OPEN + self._text(self.image_rows) + IMAGE_CLOSE

    def region_text(self, slot: int) -> str:
        """One region as it stands in the prompt, brackets included.

        >>> SpecialTokens(num_latents=2, max_regions=3).region_text(1)
        '<region><region3><region4><region5></region>'
        """
        return REGION_OPEN + self._text(self.region_rows(slot)) + REGION_CLOSE

    def _text(self, rows: range) -> str:
        return "".join(self.strings[rows.start : rows.stop])
