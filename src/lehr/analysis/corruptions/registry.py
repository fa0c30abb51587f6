"""The corruptions by name, in the published order, and where ours differ from the published program."""

from __future__ import annotations

from lehr.analysis.corruptions.blur import defocus_blur, gaussian_blur, glass_blur
from lehr.analysis.corruptions.colour import brightness, contrast, saturate
from lehr.analysis.corruptions.contract import Corruption
from lehr.analysis.corruptions.digital import jpeg_compression, pixelate
from lehr.analysis.corruptions.elastic import elastic_transform
from lehr.analysis.corruptions.frost import frost
from lehr.analysis.corruptions.motion import motion_blur
from lehr.analysis.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from lehr.analysis.corruptions.spatter import spatter
from lehr.analysis.corruptions.weather import fog, snow
from lehr.analysis.corruptions.zoom import zoom_blur
from lehr.base.registry import Registry

corruptions: Registry[Corruption] = Registry("corruption")
"""Every corruption by name; a new one is a function with `@corruption` and a line below."""

corruptions.add("gaussian_noise", gaussian_noise)
corruptions.add("shot_noise", shot_noise)
corruptions.add("impulse_noise", impulse_noise)
corruptions.add("defocus_blur", defocus_blur)
corruptions.add("glass_blur", glass_blur)
corruptions.add("motion_blur", motion_blur)
corruptions.add("zoom_blur", zoom_blur)
corruptions.add("snow", snow)
corruptions.add("frost", frost)
corruptions.add("fog", fog)
corruptions.add("brightness", brightness)
corruptions.add("contrast", contrast)
corruptions.add("elastic_transform", elastic_transform)
corruptions.add("pixelate", pixelate)
corruptions.add("jpeg_compression", jpeg_compression)
corruptions.add("speckle_noise", speckle_noise)
corruptions.add("gaussian_blur", gaussian_blur)
corruptions.add("spatter", spatter)
corruptions.add("saturate", saturate)

PUBLISHED = tuple(corruptions)
"""The 19 names of CIFAR-10-C; the first 15 are the benchmark, the last 4 are for validation."""

BENCHMARK = PUBLISHED[:15]
"""The 15 names of the benchmark; the other four were published for validation."""

DEVIATIONS: dict[str, str] = {
    "frost": "The texture is generated (plasma clouds and needles) because the published photographs are not ours to ship: "
    "numbers for frost are not comparable with published ones.",
    "motion_blur": "ImageMagick's definition, written anew and not run: levels may differ by one where it rounds.",
    "snow": "The flakes are smeared by ImageMagick's definition, written anew and not run: levels may differ by one.",
    "spatter": "Where no drop falls the image stays as it is (the published program divides by zero), and liquid brighter "
    "than white is white (there it wraps round to black).",
    "jpeg_compression": "The file is written by the Pillow installed, whose JPEG library may round differently.",
}
"""Where a corruption of ours is not the published formula to the letter; the random numbers differ everywhere."""
