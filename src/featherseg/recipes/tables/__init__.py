"""The tables of the papers. `TABLES` is the whole menu: name -> table; a file holds one paper.

Nothing here imports torch; `counts.py` does, and is asked for only when a table is printed.
"""

from __future__ import annotations

from featherseg.recipes.tables import paper000, paper001, paper002, paper003, paper004
from featherseg.recipes.tables.row import RUN_FIELDS, Row, Table, Value, figure
from featherseg.runtime.errors import refuse_unknown

__all__ = ["PAPERS", "RUN_FIELDS", "TABLES", "Row", "Table", "Value", "figure", "find_table"]

PAPERS: dict[str, str] = {
    "000": "Xia, Long: Design and Implementation of a Lightweight Image Semantic Segmentation Model Combining "
    "Attention Mechanism, 2026",
    "001": "Huo, Wang, Liu, Li: Lightweight Semantic Segmentation Algorithm Based on Multi-level Feature Fusion, 2023",
    "002": "Feature Fusion Network Based on Hybrid Attention for Semantic Segmentation, 2022 (abstract)",
    "003": "Ma, Wang: DeepLabV3+ Model Incorporating Attention Mechanisms and Deep Separable Convolution, 2023",
    "004": "Kuang, Liu, Chen, Zhang: Lightweight Semantic Segmentation Network based on Attention Feature Fusion, 2023",
}

TABLES: dict[str, Table] = {
    "000-T1": paper000.BACKBONES,
    "000-T2": paper000.ABLATION,
    "000-T3": paper000.COMPARISON,
    "001-T1": paper001.LISTING,
    "001-T2": paper001.ENVIRONMENT,
    "001-T3": paper001.ABLATION,
    "001-T4": paper001.ACCURATE,
    "001-T5": paper001.LIGHT,
    "002-house": paper002.HOUSE,
    "003-T1": paper003.LOSSES,
    "003-T2": paper003.ATTENTION,
    "003-T3": paper003.SEPARABLE,
    "003-T4": paper003.CLASSES,
    "004-I": paper004.FUSION,
    "004-II": paper004.STRUCTURE,
    "004-III": paper004.SPSSNET,
    "004-IV": paper004.DSNET,
    "004-V": paper004.COMPARISON,
    "004-VI": paper004.SPEED,
    "004-VII": paper004.GROUPS,
    "004-VIII": paper004.CLASSES,
    "004-losses": paper004.RIVALS,
}


def find_table(name: str) -> Table:
    """The table of this name, in capitals or not; an unknown one is refused with the nearest."""
    spelled = {known.casefold(): known for known in TABLES}
    known = spelled.get(name.strip().casefold(), name)
    refuse_unknown("table", known, TABLES)
    return TABLES[known]
