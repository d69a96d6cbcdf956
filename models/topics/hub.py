"""An encoder of pictures and words from the hub, or from a folder: SigLIP 2, SigLIP or CLIP through `transformers`.

Radford et al. 2021 (CLIP, arXiv 2103.00020); Zhai et al. 2023 (SigLIP, arXiv 2303.15343); Tschannen et al. 2025
(SigLIP 2, arXiv 2502.14786). Always at a pinned revision: with a branch's name answers would change by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..serving.device import inference_dtype

REVISION_FORM = re.compile(r"[0-9a-f]{40}")
SIGLIP_TOKENS = 64
"""Tokens that SigLIP's texts are padded to: it was trained so."""
TEXT_BATCH = 64

Rows = npt.NDArray[np.float32]


class HubUnavailable(Exception):
    """The model cannot be loaded: the hub is not reachable, or has no such model. The message says what to do."""


class UnpinnedModel(ValueError):
    """A hub model without a full commit id."""


@dataclass(frozen=True)
class ModelName:
    """`OWNER/NAME@COMMIT` on the hub, or a folder."""

    path: str
    revision: str | None
    """None: a folder."""

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises `UnpinnedModel` where a hub model has no commit."""
        if Path(text).expanduser().is_dir():
            return cls(str(Path(text).expanduser()), None)
        name, _, revision = text.partition("@")
        if not REVISION_FORM.fullmatch(revision):
            raise UnpinnedModel(
                f"model {text!r} is neither a folder here nor pinned: write OWNER/NAME@COMMIT with all 40 digits of "
                "the commit, as its page on the hub shows it"
            )
        return cls(name, revision)

    @property
    def version(self) -> str:
        """`name@revision` as documents and kept embeddings name it."""
        return f"{Path(self.path).name}@{self.revision[:12] if self.revision else 'local'}"


class PairedModel:
    """A network with a tower for pictures and one for words, in one space.

    Safe to share between threads as long as one at a time runs `pictures`.
    """

    def __init__(self, name: ModelName, device: torch.device) -> None:
        """Load it.

        Raises:
            HubUnavailable: it is not to be had, or is not of this kind.
        """
        options: dict[str, Any] = {"revision": name.revision} if name.revision else {"local_files_only": True}
        try:
            from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
        except ImportError as error:
            raise HubUnavailable("transformers is not installed; run: pip install 'tagfarm[hub]'") from error
        try:
            network = AutoModel.from_pretrained(name.path, use_safetensors=True, **options)
            self.processor = AutoImageProcessor.from_pretrained(name.path, **options)
            self.tokenizer = AutoTokenizer.from_pretrained(name.path, **options)
        except (OSError, ValueError, ImportError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise HubUnavailable(
                f"{name.version} cannot be loaded ({first[:200]}); put it into this node's hub cache, or set "
                "TAGFARM_MODELS__ZEROSHOT to a folder that holds it"
            ) from error
        if not hasattr(network, "get_image_features") or not hasattr(network, "logit_scale"):
            raise HubUnavailable(f"{name.version} is no encoder of pictures and words (of CLIP's or SigLIP's kind)")
        self.device, self.dtype = device, inference_dtype(device)
        self.scale = float(network.logit_scale.detach().float().exp())
        bias = getattr(network, "logit_bias", None)
        self.bias = None if bias is None else float(bias.detach().float())
        """SigLIP: each pair by itself, sigmoid(scale x cosine + bias). None: CLIP, which only compares texts."""
        self.network = network.eval().requires_grad_(False).to(device=device, dtype=self.dtype)

    def prepare(self, frame: npt.NDArray[np.uint8]) -> Tensor:
        """A frame [h, w, 3] as the network takes it, [3, side, side]."""
        made: Tensor = self.processor(images=frame, return_tensors="pt", input_data_format="channels_last").pixel_values
        return made[0]

    def pictures(self, prepared: Sequence[Tensor]) -> Rows:
        """[n, d] unit vectors of prepared frames."""
        with torch.inference_mode():
            pixels = torch.stack(list(prepared)).to(device=self.device, dtype=self.dtype)
            return _unit(self.network.get_image_features(pixel_values=pixels))

    def texts(self, texts: Sequence[str]) -> Rows:
        """[n, d] unit vectors of texts."""
        padding: dict[str, Any] = {"padding": True}
        if self.bias is not None:
            padding = {"padding": "max_length", "max_length": self._longest}
        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), TEXT_BATCH):
                part = list(texts[start : start + TEXT_BATCH])
                if self.bias is not None:
                    part = [text.lower() for text in part]  # SigLIP's texts were
                tokens = self.tokenizer(
                    part, return_tensors="pt", truncation=True, **{"max_length": self._longest, **padding}
                )
                given = {key: tokens[key].to(self.device) for key in ("input_ids",)}
                if self.bias is None:
                    given["attention_mask"] = tokens["attention_mask"].to(self.device)
                rows.append(_unit(self.network.get_text_features(**given)))
        return np.concatenate(rows)

    @property
    def _longest(self) -> int:
        config = self.network.config.text_config
        most = int(config.max_position_embeddings)
        return min(most, SIGLIP_TOKENS) if self.bias is not None else most


def _unit(features: Any) -> Rows:
    pooled: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    unit = torch.nn.functional.normalize(pooled.float(), dim=-1)
    return np.asarray(unit.cpu().numpy(), np.float32)
