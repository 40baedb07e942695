"""The menu of recipes: `RECIPES[name]()` is a complete Run, to be adapted by key=value."""

from __future__ import annotations

from featherseg.recipes import affnet, baselines, caspp_deeplab, dsc_deeplab, fe_deeplab, hybrid_fusion
from featherseg.recipes.settings import Recipe

OWN = "your own"

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(make=caspp_deeplab.caspp_deeplab_voc, paper="000", target="74.83 VOC val"),
        Recipe(make=caspp_deeplab.caspp_deeplab_cityscapes, paper="000", target="75.2 Cityscapes val"),
        Recipe(make=caspp_deeplab.caspp_deeplab_camvid, paper="000", target=""),
        Recipe(make=caspp_deeplab.caspp_deeplab_folder, paper="000", target=OWN),
        Recipe(make=fe_deeplab.fe_deeplab_voc, paper="001", target="72.61 VOC val"),
        Recipe(make=fe_deeplab.fe_deeplab_voc_2021, paper="001", target="72.61 VOC val"),
        Recipe(make=fe_deeplab.fe_deeplab_cityscapes, paper="001", target=""),
        Recipe(make=fe_deeplab.fe_deeplab_camvid, paper="001", target=""),
        Recipe(make=fe_deeplab.fe_deeplab_folder, paper="001", target=OWN),
        Recipe(make=hybrid_fusion.hybrid_fusion_cityscapes, paper="002", target="74.12 Cityscapes"),
        Recipe(make=hybrid_fusion.hybrid_fusion_voc, paper="002", target=""),
        Recipe(make=hybrid_fusion.hybrid_fusion_camvid, paper="002", target=""),
        Recipe(make=hybrid_fusion.hybrid_fusion_folder, paper="002", target=OWN),
        Recipe(make=dsc_deeplab.dsc_deeplab_voc, paper="003", target="70.9 VOC val"),
        Recipe(make=dsc_deeplab.dsc_deeplab_cityscapes, paper="003", target=""),
        Recipe(make=dsc_deeplab.dsc_deeplab_camvid, paper="003", target=""),
        Recipe(make=dsc_deeplab.dsc_deeplab_folder, paper="003", target=OWN),
        Recipe(make=affnet.affnet_cityscapes, paper="004", target="69.48 Cityscapes val"),
        Recipe(make=affnet.affnet_cityscapes_patches, paper="004", target=""),
        Recipe(make=affnet.affnet_cityscapes_fine, paper="004", target="70.8 Cityscapes test"),
        Recipe(make=affnet.affnet_voc, paper="004", target=""),
        Recipe(make=affnet.affnet_camvid, paper="004", target="66.97 CamVid val (ours)"),
        Recipe(make=affnet.affnet_folder, paper="004", target=OWN),
        Recipe(make=baselines.deeplabv3plus_voc, paper="", target=""),
        Recipe(make=baselines.deeplabv3plus_camvid, paper="", target=""),
        Recipe(make=baselines.deeplabv3plus_folder, paper="", target=OWN),
        Recipe(make=baselines.fast_scnn_camvid, paper="", target=""),
        Recipe(make=baselines.fast_scnn_folder, paper="", target=OWN),
        Recipe(make=baselines.spssnet_cityscapes, paper="", target="68.21 Cityscapes val (004)"),
        Recipe(make=baselines.spssnet_camvid, paper="", target=""),
        Recipe(make=baselines.spssnet_folder, paper="", target=OWN),
    )
}
