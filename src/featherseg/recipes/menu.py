"""The menu of recipes: `RECIPES[name]()` is a complete Run, to be adapted by key=value."""

from __future__ import annotations

from featherseg.models import MODELS
from featherseg.recipes import affnet, baselines, caspp_deeplab, dsc_deeplab, fe_deeplab, hybrid_fusion, zoo
from featherseg.recipes.settings import Recipe

# Core-hours of the peers' recipes and of every network under the zoo's protocols: estimates from the time of a step,
# which leave out pictures and validation; those marked are measured, by the cards in weights/.
PEERS_IN_A_FOLDER = {
    "smp_deeplabv3plus": 5.2,
    "smp_unet": 5.8,
    "lraspp": 2.5,
    "enet": 3.4,
    "erfnet": 5,
    "unet_vgg16": 56,
    "pspnet_resnet50": 58,
}
ZOO_CAMVID = {
    "caspp_deeplab": 1.8,
    "fe_deeplab": 2.6,
    "hybrid_fusion": 1.8,  # measured
    "dsc_deeplab": 5.2,  # measured: five times its eight epochs
    "affnet": 0.95,  # measured
    "deeplabv3plus": 2.4,
    "fast_scnn": 0.66,  # measured
    "spssnet": 0.29,  # measured
    "smp_deeplabv3plus": 2.4,  # measured
    "smp_unet": 1.9,
    "lraspp": 0.83,
    "enet": 1,
    "erfnet": 1.6,
    "unet_vgg16": 18,
    "pspnet_resnet50": 16,
}
ZOO_VOC7 = {
    "caspp_deeplab": 3.8,
    "fe_deeplab": 6.2,
    "hybrid_fusion": 2.9,
    "dsc_deeplab": 5.6,
    "smp_deeplabv3plus": 3.5,
}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(make=caspp_deeplab.caspp_deeplab_voc, paper="000", target="74.83 VOC val", core_hours=460),
        Recipe(make=caspp_deeplab.caspp_deeplab_cityscapes, paper="000", target="75.2 Cityscapes val", core_hours=290),
        Recipe(make=caspp_deeplab.caspp_deeplab_camvid, paper="000", target="", core_hours=8.9),
        Recipe(make=caspp_deeplab.caspp_deeplab_folder, paper="000", target="", core_hours=5.4),
        Recipe(make=fe_deeplab.fe_deeplab_voc, paper="001", target="72.61 VOC val", core_hours=120),
        Recipe(make=fe_deeplab.fe_deeplab_voc_2021, paper="001", target="72.61 VOC val", core_hours=130),
        Recipe(make=fe_deeplab.fe_deeplab_cityscapes, paper="001", target="", core_hours=510),
        Recipe(make=fe_deeplab.fe_deeplab_camvid, paper="001", target="", core_hours=16),
        Recipe(make=fe_deeplab.fe_deeplab_folder, paper="001", target="", core_hours=9.5),
        Recipe(make=hybrid_fusion.hybrid_fusion_cityscapes, paper="002", target="74.12 Cityscapes", core_hours=710),
        Recipe(make=hybrid_fusion.hybrid_fusion_voc, paper="002", target="", core_hours=420),
        Recipe(make=hybrid_fusion.hybrid_fusion_camvid, paper="002", target="", core_hours=24),
        Recipe(make=hybrid_fusion.hybrid_fusion_folder, paper="002", target="", core_hours=3.9),
        Recipe(make=dsc_deeplab.dsc_deeplab_voc, paper="003", target="70.9 VOC val", core_hours=760),
        Recipe(make=dsc_deeplab.dsc_deeplab_cityscapes, paper="003", target="", core_hours=460),
        Recipe(make=dsc_deeplab.dsc_deeplab_camvid, paper="003", target="", core_hours=16),
        Recipe(make=dsc_deeplab.dsc_deeplab_folder, paper="003", target="", core_hours=8.2),
        Recipe(make=affnet.affnet_cityscapes, paper="004", target="69.48 Cityscapes val", core_hours=480),
        Recipe(make=affnet.affnet_cityscapes_patches, paper="004", target="", core_hours=1500),
        Recipe(make=affnet.affnet_cityscapes_fine, paper="004", target="70.8 Cityscapes test", core_hours=500),
        Recipe(make=affnet.affnet_voc, paper="004", target="", core_hours=230),
        Recipe(
            make=affnet.affnet_camvid, paper="004", target="63.26 CamVid val after 50 epochs (ours)", core_hours=2.2
        ),
        Recipe(make=affnet.affnet_folder, paper="004", target="", core_hours=1.7),
        Recipe(make=baselines.deeplabv3plus_voc, paper="", target="", core_hours=550),
        Recipe(make=baselines.deeplabv3plus_camvid, paper="", target="", core_hours=9.4),
        Recipe(make=baselines.deeplabv3plus_folder, paper="", target="", core_hours=6.4),
        Recipe(make=baselines.fast_scnn_camvid, paper="", target="", core_hours=0.91),
        Recipe(make=baselines.fast_scnn_folder, paper="", target="", core_hours=0.66),
        Recipe(make=baselines.spssnet_cityscapes, paper="", target="68.21 Cityscapes val (004)", core_hours=200),
        Recipe(make=baselines.spssnet_camvid, paper="", target="", core_hours=0.81),
        Recipe(make=baselines.spssnet_folder, paper="", target="", core_hours=0.55),
        *(
            Recipe(make=baselines.folder_of(model), paper="", target="", core_hours=hours)
            for model, hours in PEERS_IN_A_FOLDER.items()
        ),
        *(
            Recipe(make=zoo.under(zoo.zoo_camvid, model), paper=MODELS[model].paper, target="", core_hours=hours)
            for model, hours in ZOO_CAMVID.items()
        ),
        *(
            Recipe(make=zoo.under(zoo.zoo_voc7, model), paper=MODELS[model].paper, target="", core_hours=hours)
            for model, hours in ZOO_VOC7.items()
        ),
    )
}
