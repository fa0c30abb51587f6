"""Every corruption once more: plain, slow, one image at a time, from the published definition.

A reference is ``(image of shape (H, W, 3), severity, draws of that one image) -> image``, before the clip to [0, 1]. It
uses the same random numbers, scalars and loops where it can, and scipy or the standard library for well-known parts.
`ROWS` has one for each registered name.
"""

from __future__ import annotations

import colorsys
import heapq
import math
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from lehr.analysis.corruptions import Draws


def pictures(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    """Made-up pictures with smooth parts, edges, texture, black, white and grey; uint8 of shape (N, H, W, 3)."""
    rng = np.random.default_rng(5)
    result = ndimage.gaussian_filter(rng.normal(size=(count, height, width, 3)), (0, 4, 4, 0.6)) * 4 + 0.45
    result += 0.05 * ndimage.gaussian_filter(rng.normal(size=result.shape), (0, 0.7, 0.7, 0))
    for n in range(count):
        for _ in range(4):
            top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
            colour = [rng.uniform(0, 1, 3), rng.uniform(0, 1) * np.ones(3)][rng.integers(2)]
            result[n, top : top + rng.integers(3, 12), left : left + rng.integers(3, 12)] = colour
        result[n, -3:, -4:-2], result[n, -3:, -2:] = 0, 1
    return np.floor(np.clip(result, 0, 1) * 255).astype(np.uint8)


def pick(severity: int, *constants):
    return constants[severity - 1]


def blurred(image, sigma, mode="nearest", truncate=4.0):
    return ndimage.gaussian_filter(image, (sigma, sigma, *[0] * (image.ndim - 2)), mode=mode, truncate=truncate)


def gaussian_noise(image, severity, draws):
    return image + pick(severity, 0.04, 0.06, 0.08, 0.09, 0.10) * draws.normal(*image.shape)[0]


def shot_noise(image, severity, draws):
    c = pick(severity, 500, 250, 100, 75, 50)
    return draws.poisson((image * c)[None])[0] / c


def impulse_noise(image, severity, draws):
    p = pick(severity, 0.01, 0.02, 0.03, 0.05, 0.07)
    result = image.copy()
    for place, u in np.ndenumerate(draws.uniform(0, 1, *image.shape)[0]):
        if u < p:
            result[place] = 0 if u < p / 2 else 1
    return result


def speckle_noise(image, severity, draws):
    return image * (1 + pick(severity, 0.06, 0.1, 0.12, 0.16, 0.2) * draws.normal(*image.shape)[0])


def gaussian_blur(image, severity, draws):
    return blurred(image, pick(severity, 0.4, 0.6, 0.7, 0.8, 1))


def defocus_blur(image, severity, draws):
    radius, sigma = pick(severity, (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))
    disk = np.array([[float(math.hypot(x, y) <= radius) for x in range(-8, 9)] for y in range(-8, 9)])
    taps = np.array([math.exp(-(i**2) / (2 * sigma**2)) for i in (-1, 0, 1)])
    kernel = ndimage.correlate(disk / disk.sum(), np.outer(taps, taps) / taps.sum() ** 2, mode="mirror")
    return np.stack([ndimage.correlate(image[..., c], kernel, mode="mirror") for c in range(3)], axis=-1)


def glass_blur(image, severity, draws):
    sigma, rounds = pick(severity, (0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))
    x = (blurred(image, sigma) * 255).astype(np.uint8)
    height, width, _ = x.shape
    for turn in range(rounds):
        back = draws.uniform(0, 1, 2, height - 2, width - 2, part=turn)[0] < 0.5
        for h in range(height - 1, 1, -1):
            for w in range(width - 1, 1, -1):
                y, z = h - back[0, h - 2, w - 2], w - back[1, h - 2, w - 2]
                x[h, w], x[y, z] = (
                    x[y, z],
                    x[h, w],
                )  # as published: a copy, because the left side is a view of the right
    return blurred(x / 255, sigma)


def smeared(image, radius, sigma, degrees):
    angle, width = math.radians(degrees), 2 * radius + 1
    kernel = [math.exp(-(i**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) for i in range(width)]
    rows, columns = np.indices(image.shape[:2])
    total = np.zeros(image.shape)
    for i in range(width):
        y = np.clip(rows + math.ceil(i * math.sin(angle) - 0.5), 0, image.shape[0] - 1)
        x = np.clip(columns + math.ceil(i * math.cos(angle) - 0.5), 0, image.shape[1] - 1)
        total += kernel[i] / sum(kernel) * image[y, x]
    return np.rint(total * 255) / 255


def motion_blur(image, severity, draws):
    radius, sigma = pick(severity, (6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))
    return smeared(image, radius, sigma, draws.uniform(-45, 45)[0])


def zoomed(image, factor):
    side = len(image)
    kept = math.ceil(side / factor)
    top = (side - kept) // 2
    part = image[top : top + kept, top : top + kept]
    part = ndimage.zoom(part, (factor, factor, *[1] * (image.ndim - 2)), order=1)
    trim = (len(part) - side) // 2
    return part[trim : trim + side, trim : trim + side]


def zoom_blur(image, severity, draws):
    factors = np.arange(1, pick(severity, 1.06, 1.11, 1.16, 1.21, 1.26), 0.01)
    return (image + sum(zoomed(image, factor) for factor in factors)) / (len(factors) + 1)


def snow(image, severity, draws):
    mean, deviation, factor, threshold, radius, sigma, share = pick(
        severity,
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )
    flakes = zoomed(mean + deviation * draws.normal(*image.shape[:2])[0], factor)
    flakes[flakes < threshold] = 0
    flakes = smeared(
        (flakes.clip(0, 1) * 255).astype(np.uint8) / 255, radius, sigma, draws.uniform(-135, -45, part=1)[0]
    )
    grey = image @ np.array([0.299, 0.587, 0.114])
    white = np.maximum(image, (grey * 1.5 + 0.5)[..., None])
    return share * image + (1 - share) * white + (flakes + np.rot90(flakes, 2))[..., None]


def clouds(side, decay, draws):
    """Diamond-square, a point at a time: squares, then edges lying, then edges standing, each row by row."""
    numbers = iter(draws.uniform(-1, 1, side * side)[0])
    next(numbers)  # the corner
    field, step, wobble = {(0, 0): 0.0}, side, 100.0

    def at(y, x):
        return field[y % side, x % side]

    def put(y, x, *around):
        field[y, x] = sum(around) / 4 + wobble * wobble * next(numbers)

    while step >= 2:
        half, grid = step // 2, range(0, side, step)
        for y, x in ((y, x) for y in grid for x in grid):
            put(y + half, x + half, at(y, x), at(y + step, x), at(y, x + step), at(y + step, x + step))
        for y, x in ((y, x) for y in grid for x in grid):
            put(y, x + half, at(y, x), at(y, x + step), at(y + half, x + half), at(y - half, x + half))
        for y, x in ((y, x) for y in grid for x in grid):
            put(y + half, x, at(y, x), at(y + step, x), at(y + half, x + half), at(y + half, x - half))
        step, wobble = half, wobble / decay
    low, high = min(field.values()), max(field.values())
    return np.array([[(at(y, x) - low) / (high - low) for x in range(side)] for y in range(side)])


def fog(image, severity, draws):
    strength, decay = pick(severity, (0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))
    top = image.max()
    return (image + strength * clouds(32, decay, draws)[..., None]) * top / (top + strength)


def frost(image, severity, draws):
    """Only the mixture is published; the texture is ours."""
    share, ice = pick(severity, (1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
    place, way = draws.uniform(0, 1, 24, 4, part=1)[0], draws.normal(24, 2, part=2)[0]
    light = 0.75 * clouds(32, 1.8, draws)
    shine = np.zeros((32, 32))
    for (root_y, root_x, length, thickness), direction in zip(place, way, strict=True):
        e = direction / math.hypot(*direction)
        for y, x in np.ndindex(32, 32):
            offset = np.array([y - 32 * root_y, x - 32 * root_x])
            along, aside = offset @ e, abs(offset[0] * e[1] - offset[1] * e[0])
            if 0 <= along < 4 + 12 * length and aside < 0.5 + 1.1 * thickness:
                bright = (1 - along / (4 + 12 * length)) * (1 - aside / (0.5 + 1.1 * thickness))
                shine[y, x] = max(shine[y, x], bright)
    light = np.minimum(light + 0.75 * shine, 1)[..., None]
    glass, crystal = np.array([70, 90, 115]) / 255, np.array([235, 243, 255]) / 255
    return share * image + ice * (glass * (1 - light) + crystal * light)


def in_hsv(image, change):
    result = np.zeros(image.shape)
    for h, w in np.ndindex(*image.shape[:2]):
        result[h, w] = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*image[h, w])))
    return result


def brightness(image, severity, draws):
    c = pick(severity, 0.05, 0.1, 0.15, 0.2, 0.3)
    return in_hsv(image, lambda h, s, v: (h, s, min(v + c, 1)))


def saturate(image, severity, draws):
    scale, add = pick(severity, (0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))
    return in_hsv(image, lambda h, s, v: (h, min(s * scale + add, 1), v))


def contrast(image, severity, draws):
    c = pick(severity, 0.75, 0.5, 0.4, 0.3, 0.15)
    means = [image[..., channel].sum() / image[..., channel].size for channel in range(3)]
    return c * image + (1 - c) * np.array(means)


def elastic_transform(image, severity, draws):
    side = 32
    height, sigma, reach = pick(
        severity,
        (side * 0, side * 0, side * 0.08),
        (side * 0.05, side * 0.2, side * 0.07),
        (side * 0.08, side * 0.06, side * 0.06),
        (side * 0.1, side * 0.04, side * 0.05),
        (side * 0.1, side * 0.03, side * 0.03),
    )
    points = np.array([[26.0, 26], [26, 6], [6, 6]])
    moved = points + draws.uniform(-reach, reach, 3, 2)[0]
    forth = np.linalg.solve(np.c_[points, np.ones(3)], moved).T  # (2, 3): where a point goes
    back = np.linalg.inv(np.r_[forth, [[0, 0, 1]]])
    y, x = np.indices((side, side)).astype(float)
    from_x, from_y = (back[row, 0] * x + back[row, 1] * y + back[row, 2] for row in (0, 1))
    places = [np.floor(place * 32 + 0.5) / 32 for place in (from_y, from_x)]
    image = np.stack([ndimage.map_coordinates(image[..., c], places, order=1, mode="mirror") for c in range(3)], -1)
    right, down = (
        height * blurred(draws.uniform(-1, 1, side, side, part=part)[0], sigma, mode="reflect", truncate=3)
        for part in (1, 2)
    )
    places = [y + down, x + right]
    return np.stack([ndimage.map_coordinates(image[..., c], places, order=1, mode="reflect") for c in range(3)], -1)


def area_resized(image, height, width):
    """Each new pixel is the rounded mean of the old ones whose middle it covers: first along rows, then along columns."""
    for axis, size in ((1, width), (0, height)):
        old = image.shape[axis]
        scale = old / size
        support = max(scale, 1) / 2
        parts = []
        for new in range(size):
            middle = (new + 0.5) * scale
            near = range(max(int(middle - support + 0.5), 0), min(int(middle + support + 0.5), old))
            inside = [i for i in near if -0.5 < (i - middle + 0.5) / max(scale, 1) <= 0.5]
            parts.append(image.take(inside, axis).mean(axis))
        image = np.floor(np.stack(parts, axis) + 0.5)
    return image


def pixelate(image, severity, draws):
    small = int(32 * pick(severity, 0.95, 0.9, 0.85, 0.75, 0.65))
    return area_resized(area_resized(np.rint(image * 255), small, small), 32, 32) / 255


def jpeg_compression(image, severity, draws):
    file = BytesIO()
    pixels = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    pixels.save(file, format="JPEG", quality=pick(severity, 80, 65, 58, 50, 40))
    return np.asarray(Image.open(BytesIO(file.getvalue()))) / 255


def canny(levels, low, high):
    """Canny's edges, a pixel at a time: Sobel, thinning in four directions, then a flood from the strong ones."""
    wide = np.pad(levels, 1, mode="edge").astype(int)
    height, width = levels.shape
    size, slope = {}, {}
    for y, x in np.ndindex(height, width):
        window = wide[y : y + 3, x : x + 3]
        dx = (window[:, 2] - window[:, 0]) @ [1, 2, 1]
        dy = (window[2] - window[0]) @ [1, 2, 1]
        size[y, x], slope[y, x] = abs(dx) + abs(dy), (dx, dy)
    ridge = set()
    for (y, x), here in size.items():
        dx, dy = slope[y, x]
        angle = math.degrees(math.atan2(abs(dy), abs(dx)))
        if angle < 22.5:
            before, after = (0, -1), (0, 1)
        elif angle > 67.5:
            before, after = (-1, 0), (1, 0)
        else:
            sign = 1 if (dx < 0) == (dy < 0) else -1
            before, after = (-1, -sign), (1, sign)
        one, other = (size.get((y + a, x + b), 0) for a, b in (before, after))
        straight = 0 in before
        if here > low and here > one and (here >= other if straight else here > other):
            ridge.add((y, x))
    edges, front = set(), [place for place in ridge if size[place] > high]
    while front:
        y, x = front.pop()
        if (y, x) in ridge - edges:
            edges.add((y, x))
            front += [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return edges


def chamfer(edges, height, width, most):
    """Dijkstra's shortest ways with the steps of a 5x5 mask, in units of 1/65536."""
    costs = {1: 65536, 2: round(1.4 * 65536), 5: round(2.1969 * 65536)}
    moves = [(a, b, costs[a * a + b * b]) for a in range(-2, 3) for b in range(-2, 3) if a * a + b * b in costs]
    result = np.full((height, width), most * 65536)
    front = [(0, place) for place in edges]
    while front:
        length, (y, x) = heapq.heappop(front)
        if 0 <= y < height and 0 <= x < width and (length < result[y, x] or length == 0):
            if length == 0 and result[y, x] == 0:
                continue
            result[y, x] = length
            for a, b, cost in moves:
                heapq.heappush(front, (length + cost, (y + a, x + b)))
    return result


def levelled(image):
    counts = np.bincount(image.ravel(), minlength=256)
    first = int(image.min())
    if counts[first] == image.size:
        return image
    scale = 255 / (image.size - counts[first])
    return np.array([[round(counts[first + 1 : level + 1].sum() * scale) for level in row] for row in image])


def spatter(image, severity, draws):
    mean, deviation, smoothness, threshold, amount, mud = pick(
        severity,
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    )
    liquid = blurred(mean + deviation * draws.normal(*image.shape[:2])[0], smoothness)
    liquid[liquid < threshold] = 0
    if mud:
        cover = blurred((liquid > threshold).astype(float), amount)
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return image * (1 - cover) + cover * np.array([63, 42, 20]) / 255
    levels = (liquid.clip(0, 1) * 255).astype(np.uint8)
    far = chamfer(canny(levels, 50, 150), *levels.shape, most=20)
    sums = ndimage.correlate(far, np.ones((3, 3), int), mode="mirror")
    even = levelled(sums // (9 * 65536))
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    embossed = ndimage.correlate(even.astype(int), kernel, mode="mirror").clip(0, 255)
    shine = levels * np.rint(ndimage.correlate(embossed, np.ones((3, 3), int), mode="mirror") / 9)
    color = np.array([175, 238, 238]) / 255
    return image + amount * (shine / shine.max())[..., None] * color


ROWS = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "speckle_noise": speckle_noise,
    "gaussian_blur": gaussian_blur,
    "spatter": spatter,
    "saturate": saturate,
}


def draws_for(name: str, severity: int, count: int, start: int = 0, seed: int = 0) -> Draws:
    return Draws(seed, name, severity, start, count)
