"""What can be wrong with a phantom: one drawer per abnormality, each with known truth.

A drawer takes a drawn Chest, changes its voxels, marks the lesion's voxels and says what it did as findings. Names are
those of `reg2rg.phantom.finding.KINDS`; `DRAWERS` is the list of what this world can draw, in the order of drawing.
"""

from collections.abc import Callable

import numpy as np

from reg2rg.phantom.abnormalities.aeration import draw_emphysema, draw_mosaic_attenuation
from reg2rg.phantom.abnormalities.airspace import draw_consolidation, draw_lung_opacity
from reg2rg.phantom.abnormalities.airways import draw_bronchiectasis, draw_peribronchial_thickening
from reg2rg.phantom.abnormalities.atelectasis import draw_atelectasis
from reg2rg.phantom.abnormalities.bone import draw_rib_fracture, draw_vertebral_compression
from reg2rg.phantom.abnormalities.calcification import draw_arterial_calcification, draw_coronary_calcification
from reg2rg.phantom.abnormalities.esophagus import draw_hiatal_hernia
from reg2rg.phantom.abnormalities.fluid import draw_pericardial_effusion, draw_pleural_effusion
from reg2rg.phantom.abnormalities.heart import draw_cardiomegaly
from reg2rg.phantom.abnormalities.interstitium import draw_fibrotic_sequela, draw_septal_thickening
from reg2rg.phantom.abnormalities.mediastinum import draw_lymphadenopathy, draw_medical_material
from reg2rg.phantom.abnormalities.nodules import draw_lung_nodules
from reg2rg.phantom.abnormalities.soft_tissue import draw_breast_mass, draw_liver_lesion, draw_thyroid_nodule
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import Chest

Drawer = Callable[[Chest, np.random.Generator, int], tuple[Finding, ...]]

DRAWERS: dict[str, Drawer] = {
    "Pericardial effusion": draw_pericardial_effusion,
    "Pleural effusion": draw_pleural_effusion,
    "Hiatal hernia": draw_hiatal_hernia,
    # Bronchi first, then what lies in one lobe and keeps out of the way of the others, then what lies in both lungs
    # and leaves the others alone.
    "Bronchiectasis": draw_bronchiectasis,
    "Peribronchial thickening": draw_peribronchial_thickening,
    "Atelectasis": draw_atelectasis,
    "Consolidation": draw_consolidation,
    "Lung opacity": draw_lung_opacity,
    "Pulmonary fibrotic sequela": draw_fibrotic_sequela,
    "Lung nodule": draw_lung_nodules,
    "Emphysema": draw_emphysema,
    "Interlobular septal thickening": draw_septal_thickening,
    "Mosaic attenuation pattern": draw_mosaic_attenuation,
    "Medical material": draw_medical_material,
    "Arterial wall calcification": draw_arterial_calcification,
    "Coronary artery wall calcification": draw_coronary_calcification,
    "Lymphadenopathy": draw_lymphadenopathy,
    "Vertebral compression": draw_vertebral_compression,
    "Rib fracture": draw_rib_fracture,
    "Liver lesion": draw_liver_lesion,
    "Thyroid nodule": draw_thyroid_nodule,
    "Breast mass": draw_breast_mass,
    "Cardiomegaly": draw_cardiomegaly,
}
