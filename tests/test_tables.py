"""The tables of the papers: all there, every row builds, counts are the recorded ones, figures are as printed."""

import subprocess
import sys
from dataclasses import replace
from statistics import mean

import pytest
import torch

from featherseg.models import MODELS, model_config
from featherseg.models.costs import Operations, count_operations
from featherseg.recipes.tables import PAPERS, RUN_FIELDS, TABLES, counts, figure, find_table
from featherseg.recipes.tables.conventions import MACS, PTFLOPS, THOP
from featherseg.recipes.tables.counts import count_row
from featherseg.runtime.errors import FeathersegError

ROWS = {
    "000-T1": 4,
    "000-T2": 5,
    "000-T3": 7,
    "001-T1": 9,
    "001-T2": 7,
    "001-T3": 4,
    "001-T4": 4,
    "001-T5": 4,
    "002-house": 6,
    "003-T1": 4,
    "003-T2": 4,
    "003-T3": 6,
    "003-T4": 22,  # 21 classes and their mean
    "004-I": 4,
    "004-II": 2,
    "004-III": 2,
    "004-IV": 2,
    "004-V": 6,
    "004-VI": 9,
    "004-VII": 3,
    "004-VIII": 3,
    "004-losses": 5,
}

PARAMS = {
    ("000-T2", "+ MobileNetV2"): 4_598_813,
    ("000-T2", "+ C-ASPP"): 5_255_709,
    ("000-T2", "+ CBAM"): 5_665_649,
    ("000-T2", "+ dense neighbourhood prediction"): 6_082_598,
    ("000-T3", "PSPNet"): 49_081_578,
    ("000-T3", "Model of This Paper"): 6_082_598,
    ("001-T3", "CE"): 5_818_149,
    ("001-T3", "CE + Dice + FE"): 6_025_813,
    ("001-T4", "UNet"): 24_892_437,
    ("001-T4", "PSPNet"): 46_716_373,
    ("003-T3", "BM"): 5_818_149,
    ("003-T3", "BM+ECAnet"): 5_818_154,
    ("003-T3", "BM+SEnet"): 5_826_341,
    ("003-T3", "BM+CBAM"): 5_826_439,
    ("003-T3", "BM+ECAnet+DSC"): 3_859_946,
    ("003-T3", "BM+CBAM+DSC"): 3_868_231,
    ("004-I", "EWA"): 1_458_074,
    ("004-I", "Concat"): 1_694_234,
    ("004-I", "EWA+Concat"): 1_547_290,
    ("004-I", "Concat+EWA"): 1_622_810,
    ("004-II", "FPN+PAN"): 1_557_402,
    ("004-III", "SPSSNet"): 1_405_891,
    ("004-V", "Enet"): 360_185,
    ("004-V", "ERFNet"): 2_066_642,
    ("004-V", "Fast-SCNN"): 1_138_051,
    ("004-VI", "ERFNet 1024x2048"): 2_066_642,
    ("004-VII", "ERFNet"): 2_066_642,
    ("004-VIII", "ERFNet"): 2_066_642,
}

NOT_BUILT = {
    *("BiSeNetV2", "LEDNet", "Model of Reference 1", "Model of Reference 9"),
    *("FCN-8s", "DeepSN", "ESPNetv2", "CRF-RNN"),
    *("DSNet", "ESPNet"),
}
NO_NETWORKS = {"001-T1", "001-T2", "003-T4"}  # rows are stages, parts of a machine, classes

LOSSES = {"ce", "wcel", "focal", "dice", "ce_dice", "owfl", "owfl_ce", "owfl_se", "ohem"}
SCHEDULES = {"poly", "step", "cos", "constant"}

EACH_ROW = [pytest.param(table, row, id=f"{name}:{row.name}") for name, table in TABLES.items() for row in table.rows]


def row_of(table_name, row_name):
    table = TABLES[table_name]
    (row,) = [row for row in table.rows if row.name == row_name]
    return table, row


def test_every_table_is_listed_with_its_rows():
    assert {name: len(table.rows) for name, table in TABLES.items()} == ROWS
    assert all(name == table.name and name.startswith(table.paper) for name, table in TABLES.items())
    assert {table.paper for table in TABLES.values()} == set(PAPERS)
    assert [name for name, table in TABLES.items() if not table.in_paper] == ["002-house", "004-losses"]
    assert all("not in the paper" in table.title for table in TABLES.values() if not table.in_paper)


def test_row_names_of_a_table_differ():
    for table in TABLES.values():
        assert len({row.name for row in table.rows}) == len(table.rows), table.name


@pytest.mark.parametrize(("table", "row"), EACH_ROW)
def test_every_row_builds_or_is_a_peer(table, row):
    if row.model is None:
        assert table.name in NO_NETWORKS or row.name in NOT_BUILT
        assert count_row(table, row) is None
        return
    counts = count_row(table, row)  # builds the network, once for all rows that share it
    assert 0 < counts.params < counts.macs
    assert set(row.run) <= set(RUN_FIELDS)
    assert row.run.get("loss", "ce") in LOSSES
    assert row.run.get("schedule", "poly") in SCHEDULES
    assert row.run.get("precision", "fp32") in {"fp32", "fp16", "bf16"}


@pytest.mark.parametrize(("table", "row"), list(PARAMS))
def test_parameters_are_the_recorded_ones(table, row):
    counts = count_row(*row_of(table, row))
    assert counts.params == PARAMS[table, row]


@pytest.mark.parametrize(
    ("model", "choices"),
    [
        ("caspp_deeplab", {"context": {"caspp", "aspp"}, "cbam": {"concat", "none"}, "decoder": {"dnp", "plain"}}),
        ("fe_deeplab", {"enhancement": {"fe", "none"}}),
        ("hybrid_fusion", {"attention": {"hybrid", "respective", "none"}, "supervision": {"stages", "none"}}),
        ("dsc_deeplab", {"attention": {"cbam", "se", "eca", "none"}, "context": {"separable_aspp", "aspp"}}),
        ("affnet", {"fusion": {"concat+ewa", "ewa", "concat", "ewa+concat", "fpn_pan"}}),
    ],
)
def test_the_tables_reach_every_value_that_a_paper_ablates(model, choices):
    rows = [row for table in TABLES.values() for row in table.rows if row.model == model]
    for field, values in choices.items():
        assert {row.fields[field] for row in rows} == values
        assert values <= set(MODELS[model].choices()[field])


def test_backbones_of_paper_000():
    rows = [*TABLES["000-T1"].rows, TABLES["000-T3"].rows[0]]
    backbones = ["mobilenetv1", "mobilenetv2", "mobilenetv3_large", "shufflenetv2", "xception65"]
    assert [row.fields["backbone"] for row in rows] == backbones


def test_costs_in_the_papers_own_conventions():
    thop = [round(count_row(TABLES["003-T2"], row).cost, 3) for row in TABLES["003-T2"].rows]
    assert thop == [TABLES["003-T2"].theirs(row)["cost (GFLOPs)"] for row in TABLES["003-T2"].rows]
    affnet = count_row(*row_of("004-II", "AFFM"))
    assert round(affnet.cost, 3) == 5.256
    assert affnet.macs / 1e9 == pytest.approx(5.186, abs=1e-3)
    full = count_row(*row_of("000-T2", "+ dense neighbourhood prediction"))
    assert full.cost == full.macs / 1e9
    assert full.cost == pytest.approx(13.17, abs=0.01)


def test_megabytes_in_the_papers_own_conventions():
    assert count_row(*row_of("000-T2", "+ MobileNetV2")).mbytes == pytest.approx(18.40, abs=0.005)
    assert count_row(*row_of("000-T2", "+ dense neighbourhood prediction")).mbytes == pytest.approx(24.33, abs=0.005)
    baseline, full = row_of("001-T3", "CE"), row_of("001-T3", "CE + FE")
    assert round(count_row(*baseline).mbytes, 1) == 22.4  # the size of the released baseline
    assert (
        round(count_row(*full).mbytes, 1) == 23.2 == TABLES["001-T4"].theirs(TABLES["001-T4"].rows[-1])["weights (MB)"]
    )
    peers = {name: count_row(*row_of("001-T4", name)).mbytes for name in ("UNet", "PSPNet")}
    assert peers == {"UNet": pytest.approx(94.96, abs=0.005), "PSPNet": pytest.approx(178.49, abs=0.005)}


def test_a_row_is_counted_at_its_own_size():
    sizes = ("512x512", "512x1024", "1024x2048")
    small, middle, large = (count_row(*row_of("004-VI", f"AFFNet {size}")) for size in sizes)
    assert middle.macs == pytest.approx(2 * small.macs, rel=1e-3)
    assert large.macs == pytest.approx(4 * middle.macs, rel=1e-3)
    assert small.params == middle.params == large.params


# lines of the papers, the row's name first
AS_PRINTED = [
    ("000-T2", "Baseline (DeepLabV3+)", "42.6	71.62	-"),
    ("000-T2", "+ CBAM", "22.8	73.68	+1.23"),
    ("000-T3", "Model of Reference 9", "-	14.6	73.8	-"),
    ("001-T1", "7", "32²×96	bottleneck	6	160	3	2"),
    ("001-T3", "CE + Dice", "✓	✓		81.3	72.46"),
    ("001-T4", "FCN-8s", "59.59	160	91.3"),
    ("003-T1", "BM (step)", "step	72.52	82.60"),
    ("003-T3", "BM+ECAnet+DSC", "	70.74	80.3	3.860"),
    ("003-T4", "dining table", "50.33	52.48"),
    ("004-III", "SPSSNet", "1.42	27.281	68.21	40.0"),
    ("004-VI", "SPSSNet 1024x2048", "32	31.25"),
    ("004-VII", "AFFNet", "67.7	75.6	92.5"),
]


@pytest.mark.parametrize(("table", "row", "line"), AS_PRINTED)
def test_figures_are_as_printed(table, row, line):
    assert "\t".join(row_of(table, row)[1].printed) == line


@pytest.mark.parametrize(
    ("table", "row", "average"),
    [
        ("004-IV", "DSNet", 70.16),
        ("004-IV", "AFFNet", 72.33),
        ("004-VIII", "ERFNet", 66.2),
        ("004-VIII", "SPSSNet", 69.37),
        ("004-VIII", "AFFNet", 74.11),
    ],
)
def test_class_means_of_paper_004(table, row, average):
    """A slip in copying a class would show here; the means are those that the notes quote."""
    theirs = TABLES[table].theirs(row_of(table, row)[1])
    theirs.pop("mIoU (%)", None)
    assert len(theirs) == 19
    assert mean(theirs.values()) == pytest.approx(average, abs=0.05)


@pytest.mark.parametrize(("column", "average"), [("benchmark model", 72.30), ("new model", 70.90)])
def test_class_means_of_paper_003(column, average):
    table = TABLES["003-T4"]
    values = [table.theirs(row)[column] for row in table.rows if row.name != "mIoU"]
    assert mean(values) == pytest.approx(average, abs=0.01)


def test_group_means_of_paper_004():
    """Table VII is Table VIII averaged over the groups of ten, six and three classes."""
    groups, classes = TABLES["004-VII"], TABLES["004-VIII"]
    for group, row in zip(groups.rows, classes.rows, strict=True):
        values = list(classes.theirs(row).values())
        averages = [mean(values[:10]), mean(values[10:16]), mean(values[16:])]
        assert averages == pytest.approx(list(groups.theirs(group).values()), abs=0.1)


def test_counts_that_notes_quote():
    with torch.device("meta"):
        literal = model_config("caspp_deeplab", cbam="backbone", decoder="plain").build(21)
        fusion = model_config("caspp_deeplab", decoder="fusion").build(21)
        encoder = model_config("fe_deeplab").build(21).encoder
    quoted = {sum(p.numel() for p in network.parameters()) for network in (literal, fusion, encoder)}
    assert quoted == {5_268_849, 6_060_926, 1_811_712}
    notes = " ".join(note for table in TABLES.values() for note in (*table.notes, *(row.note for row in table.rows)))
    assert all(f"{count:,}" in notes for count in quoted)


@pytest.mark.parametrize(
    ("text", "value"),
    [("160", 160), ("82.60", 82.6), ("+2.62", 2.62), ("-1.79", -1.79), ("-", None), ("", None), ("✓", "✓")],
)
def test_figure(text, value):
    assert figure(text) == value


def test_find_table():
    assert find_table("004-vi") is TABLES["004-VI"]
    assert find_table("002-HOUSE") is TABLES["002-house"]
    with pytest.raises(FeathersegError, match="did you mean '003-T2'"):
        find_table("003-T22")


def test_the_tables_need_no_torch():
    code = "import sys, featherseg.recipes.tables; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_row_is_traced_once(monkeypatch):
    traced = []

    def trace(network, size):
        traced.append(size)
        return count_operations(network, size)

    monkeypatch.setattr(counts, "count_operations", trace)
    table, row = row_of("004-II", "AFFM")
    counted = count_row(replace(table, size=(64, 96)), row)
    assert traced == [(64, 96)]
    assert counted.cost > counted.macs / 1e9


@pytest.mark.parametrize(("cost", "value"), [(MACS, 1.0), (THOP, 2 * (1 + 8 + 3)), (PTFLOPS, 1 + 4 + 5)])
def test_conventions_by_hand(cost, value):
    billion = 10**9
    count = Operations(macs=billion, norm_elements=2 * billion, relu_elements=5 * billion, gate_pooling=3 * billion)
    assert cost.of(count) == value
