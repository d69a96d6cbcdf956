"""The 80 classes of COCO (Lin et al. 2014, arXiv 1405.0312), in the order of the detector's outputs, and its rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding

CLASSES: tuple[str, ...] = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign|parking meter
|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase|frisbee|skis
|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork
|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|potted plant|bed
|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink|refrigerator|book|clock
|vase|scissors|teddy bear|hair drier|toothbrush""".replace("\n", "").split("|")
)
INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
PERSON = INDEX["person"]


def confidences(encoding: Encoding) -> npt.NDArray[np.float32]:
    """[n, 80] highest confidence of each class in the frame; 0 where none was found."""
    return encoding.embeddings[:, : len(CLASSES)]


def counts(encoding: Encoding) -> npt.NDArray[np.float32]:
    """[n, 80] how many of each class are in the frame."""
    return encoding.embeddings[:, len(CLASSES) : 2 * len(CLASSES)]


def areas(encoding: Encoding) -> npt.NDArray[np.float32]:
    """[n, 80] share of the frame that the largest of each class takes."""
    return encoding.embeddings[:, 2 * len(CLASSES) :]
